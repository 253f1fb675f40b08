/* The account in the body of a request. One with an id is the stored account: whatever else a client sends back with
 * it, masked keys among it, does not count. One without an id is used with the keys that came, by who holds this, and
 * is stored nowhere, but with its keys sealed beside a transfer, as long as that needs them. */
#pragma once

#include "syncd/account.h"

struct account_given;

/* `account` or, where that has no id, the stored account `id`; either may be NULL. 0, or a negative errno with a
 * sentence: -ENOENT, -EINVAL, or why it cannot be opened. */
int account_given_open(struct syncd *d, const Lf__CloudAccount *account, const char *id, struct account_given **ret,
                       struct error *e);
/* Its cloud, until the loop turns: a stored account may be deleted meanwhile. Requests under way then end with
 * -ECANCELED, and this answers -ENOENT with a sentence. */
int account_given_cloud(struct account_given *g, struct cloud **ret, struct error *e);
/* What another process needs to use the same account: `model` and `sealed` are empty for a stored one. Borrowed. */
struct account_kept {
    const char *id;
    ProtobufCBinaryData model;    /* packed, without keys */
    ProtobufCBinaryData sealed;   /* by cryptd, for that id; empty: it has none */
};
/* Calls done, from the loop or at once, with that, or with why its keys cannot be sealed; g stays until then. */
typedef void account_kept_fn(const struct error *e, const struct account_kept *kept, void *arg);
void account_given_keep(struct account_given *g, account_kept_fn *done, void *arg);
/* From that. 0, or a negative errno with a sentence. */
int account_given_again(struct syncd *d, const struct account_kept *kept, struct account_given **ret, struct error *e);
/* Nothing is under way for it. NULL is fine. */
void account_given_close(struct account_given *g);
