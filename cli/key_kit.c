/* Owns the form of a recovery kit. */
#include "cli/key_kit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/secret_line.h"
#include "common/cleanup.h"

/* --- writing --------------------------------------------------------------------------------------------- */

static void print_fact(struct json_object *kit, const char *label, const char *key)
{
    printf("# %-11s", label);
    listing_puts(instance_text(kit, key));
    putchar('\n');
}

int key_kit_print(struct json_object *kit, struct error *e)
{
    struct json_object *list = json_object_object_get(kit, "identities");

    if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) == 0)
        return error_set(e, -EPROTO, "Landfall's answer has no identity in it.");
    puts("# Recovery kit of a Landfall drive\n#");
    print_fact(kit, "drive", "name");
    print_fact(kit, "id", "id");
    print_fact(kit, "bucket", "bucket");
    print_fact(kit, "prefix", "prefix");
    print_fact(kit, "recipient", "recipient");
    print_fact(kit, "date", "date");
    puts("#\n"
         "# Who has this can read all that the drive has encrypted in the cloud, for ever. Keep it off this machine,\n"
         "# where nobody else gets at it.\n"
         "#\n"
         "# To read an object without Landfall, save this text as kit.txt, get the object from its bucket (with\n"
         "# rclone or aws, say), and:\n"
         "#     age -d -i kit.txt OBJECT > FILE\n"
         "# On another machine with Landfall, add an encrypting drive on that bucket, and:\n"
         "#     landfall key import DRIVE < kit.txt\n"
         "#");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        listing_puts(json_object_get_string(json_object_array_get_idx(list, i)));
        putchar('\n');
    }
    return fflush(stdout) < 0 ? error_set(e, -errno, "The recovery kit could not be written: %m.") : 0;
}

/* --- reading --------------------------------------------------------------------------------------------- */

/* Without spaces around it, as text that was copied has them; "" for a comment. */
static void strip(char *line)
{
    size_t from = strspn(line, " \t\r"), n = strlen(line + from);

    while (n > 0 && strchr(" \t\r", line[from + n - 1]))
        n--;
    memmove(line, line + from, n);
    line[line[0] == '#' ? 0 : n] = '\0';
}

int key_kit_read(struct key_kit *kit, struct error *e)
{
    bool terminal = isatty(STDIN_FILENO);
    char line[KEY_KIT_LINE];
    int r;

    kit->n = 0;
    while ((r = secret_line("Identity (AGE-SECRET-KEY-1...)", line, sizeof(line), e)) >= 0) {
        strip(line);
        if (*line && kit->n == KEY_KIT_MAX)
            return error_set(e, -EBADMSG, "stdin has more than %d identities.", KEY_KIT_MAX);
        if (*line)
            (void)strcpy(kit->identities[kit->n++], line);
        if (terminal && *line)
            break;
    }
    explicit_bzero(line, sizeof(line));
    if (r < 0 && r != -ENODATA)
        return r;
    return kit->n > 0 ? 0 : error_set(e, -EBADMSG, "There is no identity on stdin: it reads AGE-SECRET-KEY-1 and 58 "
                                      "more characters, and a recovery kit has it.");
}
