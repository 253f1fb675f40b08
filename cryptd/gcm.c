/* Owns libIPSec_MB. Must not know whose keys these are, nor whether a tag is right. */
#include "cryptd/gcm.h"

#ifdef HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>

/* What is made of a key, and what is left of a message. */
struct work {
    struct gcm_key_data key __attribute__((aligned(64)));
    struct gcm_context_data context __attribute__((aligned(64)));
};

static IMB_MGR *library;   /* its functions alone, which have no state */

static bool is_usable(const IMB_MGR *m)
{
    const uint64_t wanted = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_SELF_TEST |
                            IMB_FEATURE_SELF_TEST_PASS;

    return (m->features & wanted) == wanted;
}

bool gcm_begin(void)
{
    if (library)
        return true;
    library = alloc_mb_mgr(0);
    if (library)
        init_mb_mgr_auto(library, NULL);
    if (library && !is_usable(library))
        gcm_end();
    return library;
}

void gcm_end(void)
{
    if (library)
        free_mb_mgr(library);
    library = NULL;
}

void gcm_run(bool seals, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const struct bytes *aad,
             const struct bytes *in, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE])
{
    const aes_gcm_enc_dec_t run = seals ? library->gcm256_enc : library->gcm256_dec;
    struct work w;

    IMB_AES256_GCM_PRE(library, key, &w.key);
    run(&w.key, &w.context, out, in->data, in->n, nonce, aad->data, aad->n, tag, AEAD_TAG_SIZE);
    secret_wipe(&w, sizeof(w));
}

#else

#include <stdlib.h>

bool gcm_begin(void)
{
    return false;
}

void gcm_end(void)
{
}

void gcm_run(bool seals, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const struct bytes *aad,
             const struct bytes *in, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE])
{
    (void)seals;
    (void)key;
    (void)nonce;
    (void)aad;
    (void)in;
    (void)out;
    (void)tag;
    abort();
}

#endif
