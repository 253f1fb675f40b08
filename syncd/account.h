/* Accounts: checked, stored, listed, and opened as clouds. Keys in replies are masked: the access
 * key as its first 4 characters and "****", secrets as "****". */
#pragma once

#include "common/error.h"
#include "common/ipc.h"
#include "proto/api.pb-c.h"
#include "syncd/cloud.h"
#include "syncd/credential.h"

struct syncd;

/* What people wait for in front of a browser ends by then. */
enum { ACCOUNT_DEADLINE_MS = 30000 };

/* The cloud of a stored account, borrowed until the account is deleted. 0, -ENOENT, or why it cannot be
 * opened, with a sentence. Talks to nobody. */
int account_cloud(struct syncd *d, const char *id, struct cloud **ret, struct error *e);
/* A cloud for the model, with these keys; cloud_free() it. 0, or why it cannot be opened, with a sentence. Every
 * account passes here: the folder of a LocalFolder is checked by place_check_data(). */
int account_open(const struct syncd *d, const Lf__CloudAccount *model, struct cloud_keyring keyring, struct cloud **ret,
                 struct error *e);
void account_close_all(struct syncd *d);

/* Whether the id is one: present and not all zeros, which is how clients send an unset one. */
bool account_id_given(const char *id);

/* --- account_model.c ----------------------------------------------------------------------------- */

/* Checks the members that decide how to reach the provider, by type. 0 with a new model (without id and name,
 * keys masked, for lf__cloud_account__free_unpacked) and the real keys; -EINVAL naming the member, or
 * -EOPNOTSUPP naming the type. */
int account_model_check(const Lf__CloudAccount *in, Lf__CloudAccount **ret, struct credential *ret_keys,
                        struct error *e);
/* Checks a name and puts it into the model. 0 or -EINVAL. */
int account_model_name(Lf__CloudAccount *model, const char *name, struct error *e);
/* The spec for cloud_new(); strings are borrowed from the model. */
struct cloud_spec account_model_spec(const Lf__CloudAccount *model, struct cloud_keyring keyring);

/* --- handlers ------------------------------------------------------------------------------------ */

ipc_handler_fn account_list, account_get, account_delete;
ipc_handler_fn account_insert;   /* account_insert.c */
