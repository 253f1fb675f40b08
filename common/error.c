/* The table of failures. Rows are the closed set; everything else in here only reads it. */
#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The first row answers for every code outside the set. */
static const struct error_meaning meanings[] = {
    { EIO, 500, "INTERNAL_ERROR", EIO, "Something failed inside; the log says what." },
    { ENOENT, 404, "NOT_FOUND", ENOENT, "There is no such thing." },
    { EEXIST, 499, "DUPLICATE", EEXIST, "It exists already." },
    { EINVAL, 499, "DEFAULT", EINVAL, "The request is not valid." },
    { EBADMSG, 400, "DEFAULT", EIO, "The message could not be read." },
    { EOPNOTSUPP, 499, "DEFAULT", EOPNOTSUPP, "This is not available." },
    { EPERM, 499, "SECURITY", EPERM, "The security policy refuses this." },
    { EACCES, 403, "ACCESS", EACCES, "Access is denied." },
    { EROFS, 403, "ACCESS", EROFS, "The drive is read-only." },
    { EKEYREJECTED, 499, "ACCESS", EACCES, "The provider refused the credentials." },
    { ENOKEY, 499, "ACCESS", EIO, "The key that unlocks this is missing." },
    { EBUSY, 499, "PENDING", EBUSY, "An operation on it is still pending." },
    { ESTALE, 499, "PENDING", ESTALE, "It changed in the cloud meanwhile." },
    { ERANGE, 416, "DEFAULT", ERANGE, "The range lies outside the object." },
    { EBADE, 499, "CHECKSUM_MISMATCH", EIO, "The bytes do not match their checksum." },
    { EHOSTUNREACH, 499, "DEFAULT", EIO, "The provider cannot be reached." },
    { ENETDOWN, 499, "DEFAULT", ENETDOWN, "The drive is paused, and this is not here." },
    { ETIMEDOUT, 499, "DEFAULT", EIO, "It took too long." },
    { EAGAIN, 499, "DEFAULT", EIO, "Too much at once; try again." },
    { EREMCHG, 499, "CHECKSUM_MISMATCH", EIO, "An older version than one that was seen before lies in the cloud." },
    { EREMOTEIO, 499, "DEFAULT", EIO, "The provider reported an error." },
    { ECONNRESET, 499, "INTERNAL_ERROR", EIO, "A part of Landfall restarted while it worked on this; try again." },
    { ENOTCONN, 499, "INTERNAL_ERROR", EIO, "A part of Landfall that is needed for this does not run." },
    { ECANCELED, 499, "DEFAULT", EINTR, "It was canceled." },
    { EMSGSIZE, 499, "INTERNAL_ERROR", EIO, "The answer is too large." },
    { EUCLEAN, 499, "INTERNAL_ERROR", EIO, "A database is damaged." },
    { EBADFD, 499, "FILESYSTEM_ACCESS", EIO, "The operating system refuses it." },
    { ENOSPC, 499, "FILESYSTEM_ACCESS", ENOSPC, "There is no space left." },
    { EMFILE, 499, "FILESYSTEM_ACCESS", ENFILE, "Too many files are open." },   /* of ours, not of the program's */
    { ENFILE, 499, "FILESYSTEM_ACCESS", ENFILE, "As many files are open as OpenFiles allows; close some or raise it." },
    { EFBIG, 499, "DEFAULT", EFBIG, "The file is too large." },
    { E2BIG, 499, "DEFAULT", E2BIG, "The attributes are too large." },
    { ENODATA, 404, "NOT_FOUND", ENODATA, "There is no such attribute." },
    { ENOTDIR, 499, "DEFAULT", ENOTDIR, "It is not a directory." },
    { EISDIR, 499, "DEFAULT", EISDIR, "It is a directory." },
    { ENOTEMPTY, 499, "DEFAULT", ENOTEMPTY, "The directory is not empty." },
    { ENAMETOOLONG, 499, "DEFAULT", ENAMETOOLONG, "The name is too long." },
    { EILSEQ, 499, "DEFAULT", EILSEQ, "The name is not valid UTF-8." },
    { EXDEV, 499, "DEFAULT", EXDEV, "It would leave the drive." },
    { ELOOP, 499, "SECURITY", ELOOP, "A symbolic link stands in the way." },
    { ENOMEM, 500, "INTERNAL_ERROR", ENOMEM, "There is no memory left." },
    { EPROTO, 500, "INTERNAL_ERROR", EIO, "A part of Landfall answered something unexpected." },
};

const struct error_meaning *error_meaning(int code)
{
    int positive = abs(code);

    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (meanings[i].code == positive)
            return &meanings[i];
    return &meanings[0];
}

const struct error_meaning *error_table(size_t *ret_n)
{
    *ret_n = sizeof(meanings) / sizeof(meanings[0]);
    return meanings;
}

int error_set(struct error *e, int code, const char *fmt, ...)
{
    va_list args;

    if (!e)
        return code;
    e->code = code;
    va_start(args, fmt);
    (void)vsnprintf(e->text, sizeof(e->text), fmt, args);
    va_end(args);
    for (char *p = e->text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return code;
}

const char *error_text(const struct error *e)
{
    return e->text[0] ? e->text : error_meaning(e->code)->text;
}
