/* Answers are drawn, not computed: this process has no key, and there is nothing to be learnt from many of them. */
#include "frontd/proof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "frontd/call.h"

static void free_message(ProtobufCMessage **m)
{
    protobuf_c_message_free_unpacked(*m, NULL);
}

static bool is_nonce(const char *s)
{
    size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

    return !s[len] && len >= PROOF_NONCE_LEAST && len <= PROOF_NONCE_MOST;
}

static const char *find(const struct proofs *p, const char *nonce)
{
    for (size_t i = 0; i < PROOFS_KEPT; i++)
        if (strcmp(p->kept[i].nonce, nonce) == 0)
            return p->kept[i].answer;
    return NULL;
}

static const char *draw(struct proofs *p, const char *nonce)
{
    unsigned i = p->next++ % PROOFS_KEPT;
    unsigned char random[PROOF_ANSWER_SIZE / 2];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        abort();
    strcpy(p->kept[i].nonce, nonce);
    text_hex(random, sizeof(random), p->kept[i].answer);
    return p->kept[i].answer;
}

static int prove(struct exchange *x, const char *nonce, const char **ret, struct error *e)
{
    struct proofs *p = x->frontd->proofs;

    if (!is_nonce(nonce))
        return error_set(e, -EINVAL, "nonce must be %d to %d letters, digits, - and _.", PROOF_NONCE_LEAST,
                         PROOF_NONCE_MOST);
    *ret = find(p, nonce);
    if (!*ret && http_request_peer(x->http)->local)
        *ret = draw(p, nonce);
    return *ret ? 0 : error_set(e, -EINVAL, "Nobody has asked with this nonce over the Unix socket; that comes first.");
}

void proof_serve(struct exchange *x)
{
    CLEANUP(free_message) ProtobufCMessage *m = NULL;
    const char *answer;
    struct error e = { 0 };

    if (call_message(x, &m, &e) < 0 ||
        prove(x, ((const Lf__ProofRequest *)(const void *)m)->nonce, &answer, &e) < 0)
        exchange_fail(x, &e);
    else
        exchange_json(x, json_object_new_string(answer));
}
