/* What S3 services send: documents, metadata headers, ranges, ETags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/base32.h"
#include "syncd/s3.h"
#include "syncd/s3_xml_walk.h"

static void free_request(struct cloud_request **r)
{
    cloud_request_free(*r);
}
#define REQUEST CLEANUP(free_request) struct cloud_request

/* --- documents ------------------------------------------------------------------------------------ */

static void listings(void **state)
{
    static const char xml[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>p%2F</Prefix>"
        "<IsTruncated>true</IsTruncated><Contents><Key>p/a+b%2B%25%0A%C3%BC</Key>"
        "<LastModified>2009-10-12T17:50:30.500Z</LastModified><ETag>&quot;abc-2&quot;</ETag><Size>434234</Size>"
        "<Owner><ID>x</ID></Owner></Contents><Contents><ETag>bad&#10;tag</ETag><Size>0</Size><Key>p/plain</Key></Conte"
            "nts>"
        "<CommonPrefixes><Prefix>p/%26/</Prefix></CommonPrefixes><EncodingType>url</EncodingType>"
        "<NextContinuationToken>1ueG+/%2=</NextContinuationToken></ListBucketResult>";
    REQUEST *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    (void)state;
    assert_int_equal(s3_xml_list(xml, strlen(xml), r), 0);
    assert_int_equal(r->n_objects, 2);
    assert_string_equal(r->objects[0].key, "p/a b+%\n\xc3\xbc");
    assert_int_equal(r->objects[0].size, 434234);
    assert_string_equal(r->objects[0].etag, "abc-2");
    assert_int_equal(r->objects[0].mtime_ns, INT64_C(1255369830500000000));
    assert_string_equal(r->objects[1].key, "p/plain");
    assert_null(r->objects[1].etag);   /* it could not stand in a header */
    assert_int_equal(r->n_prefixes, 1);
    assert_string_equal(r->prefixes[0], "p/&/");
    assert_string_equal(r->next_token, "1ueG+/%2=");
}

static void listings_without_coding(void **state)
{
    static const char xml[] = "<x:ListBucketResult xmlns:x=\"u\"><x:IsTruncated>false</x:IsTruncated><x:NextContinuati"
        "onToken>t"
        "</x:NextContinuationToken><x:Contents><x:Key>a+b%20</x:Key></x:Contents></x:ListBucketResult>";
    REQUEST *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    (void)state;
    assert_int_equal(s3_xml_list(xml, strlen(xml), r), 0);
    assert_string_equal(r->objects[0].key, "a+b%20");
    assert_null(r->next_token);
}

static void bad_listings(void **state)
{
    static const char *const cases[] = {
        "x", "<Other/>", "<ListBucketResult></Other>", "<ListBucketResult><Contents></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken></ListBuc"
            "ketResult>",
        "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%zz</Key></Contents></ListBucketResult>",
        "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%00b</Key></Contents></ListBucketResult>",
        "<!DOCTYPE a><ListBucketResult/>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><ListBucketResult><Contents><Key>&x;</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>&undefined;</Key></Contents></ListBucketResult>",
        "<ListBucketResult><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a></a></ListBuck"
            "etResult>",
        "<ListBucketResult><Contents/></ListBucketResult>", "<ListBucketResult/><x/>", "<ListBucketResult/>junk",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        REQUEST *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

        cloud_request_set(&r->token, "same");
        if (s3_xml_list(cases[i], strlen(cases[i]), r) != -EBADMSG)
            fail_msg("%s was taken", cases[i]);
    }
}

/* What is only cut off is told apart from what is wrong. */
static void cut_listings(void **state)
{
    static const char xml[] = " <?xml version=\"1.0\"?><!-- c --><ListBucketResult x='y'><Contents><Key>k&#228;</Key>"
                              "<Size>1</Size></Contents><Other><![CDATA[x]]></Other></ListBucketResult>";

    (void)state;
    for (size_t n = 0; n < strlen(xml); n++) {
        REQUEST *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

        if (s3_xml_list(xml, n, r) != -EPIPE)
            fail_msg("%.*s", (int)n, xml);
    }
}

static void long_texts(void **state)
{
    CLEANUP(text_free) struct text t = TEXT_INIT(1 << 20);
    REQUEST *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    (void)state;
    text_puts(&t, "<ListBucketResult><Contents><Key>");
    for (size_t i = 0; i <= S3_XML_TEXT_MAX; i++)
        text_puts(&t, "k");
    text_puts(&t, "</Key></Contents></ListBucketResult>");
    assert_int_equal(s3_xml_list(t.data, t.len, r), -EBADMSG);
}

static void errors(void **state)
{
    static const char xml[] = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>Not &lt;here&gt;.</Message>"
        "<Region>eu-west-1</Region><RequestId>4</RequestId></Error>";
    static const char google[] = "<ErrorResponse><Error><Code>X</Code></Error></ErrorResponse>";
    struct s3_xml_error e;

    (void)state;
    assert_int_equal(s3_xml_error(xml, strlen(xml), &e), 0);
    assert_string_equal(e.code, "NoSuchKey");
    assert_string_equal(e.message, "Not <here>.");
    assert_string_equal(e.region, "eu-west-1");
    assert_int_equal(s3_xml_error(google, strlen(google), &e), 0);
    assert_string_equal(e.code, "X");
    assert_int_equal(s3_xml_error("<html><body>no</body></html>", 28, &e), -EBADMSG);
}

static void other_documents(void **state)
{
    static const char buckets[] = "<ListAllMyBucketsResult><Owner/><Buckets><Bucket><Name>one</Name><CreationDate>2019"
        "-12-11T23:32:47Z"
        "</CreationDate></Bucket><Bucket><Name>two</Name><BucketRegion>eu-west-1</BucketRegion></Bucket></Buckets></Li"
            "stAllMyBucketsResult>";
    static const char begun[] = "<InitiateMultipartUploadResult><UploadId>VXBsb2Fk+/=</UploadId></InitiateMultipartUpl"
        "oadResult>";
    static const char deleted[] = "<DeleteResult><Error><Key>a&amp;b</Key><Code>AccessDenied</Code></Error></DeleteRes"
        "ult>";
    static const char copied[] = "<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>";
    static const char failed[] = "<Error><Code>InternalError</Code></Error>";
    static const char falling[] = "<ListPartsResult><Part><PartNumber>2</PartNumber></Part><Part><PartNumber>1</PartNu"
        "mber></Part></ListPartsResult>";
    static const char under_way[] = "<ListMultipartUploadsResult><EncodingType>url</EncodingType><Upload>"
        "<Key>a%20b</Key><UploadId>i</UploadId><Initiated>2026-11-21T11:31:40.945Z</Initiated></Upload>"
        "</ListMultipartUploadsResult>";
    static const char nameless[] = "<ListMultipartUploadsResult><Upload><Key>a</Key></Upload>"
        "</ListMultipartUploadsResult>";
    REQUEST *r = cloud_request_new(CLOUD_BUCKETS, NULL, NULL);
    bool more;

    (void)state;
    assert_int_equal(s3_xml_buckets(buckets, strlen(buckets), r), 0);
    assert_int_equal(r->n_buckets, 2);
    assert_string_equal(r->buckets[0].name, "one");
    assert_true(r->buckets[0].created_ns > 0);
    assert_string_equal(r->buckets[1].region, "eu-west-1");
    assert_int_equal(s3_xml_begun(begun, strlen(begun), r), 0);
    assert_string_equal(r->upload_id, "VXBsb2Fk+/=");
    assert_int_equal(s3_xml_deleted(deleted, strlen(deleted), r), 0);
    assert_string_equal(r->failed_keys[0], "a&b");
    assert_int_equal(s3_xml_stored(copied, strlen(copied), r), 0);
    assert_string_equal(r->object.etag, "e");
    assert_int_equal(s3_xml_stored(failed, strlen(failed), r), -EREMOTEIO);
    assert_int_equal(s3_xml_parts(falling, strlen(falling), r, &more), -EBADMSG);
    assert_int_equal(s3_xml_uploads(under_way, strlen(under_way), r), 0);
    assert_string_equal(r->objects[0].key, "a b");
    assert_string_equal(r->objects[0].version, "i");
    assert_true(r->objects[0].mtime_ns > 0);
    assert_int_equal(s3_xml_uploads(nameless, strlen(nameless), r), -EBADMSG);
}

/* XML cannot carry such characters, and radosgw sends them, raw or not. */
static void keys_that_no_xml_can_carry(void **state)
{
    static const char begun[] = "<InitiateMultipartUploadResult xmlns=\"u\"><Bucket>b</Bucket><Key>a\x1b&#x1b;&lt;\x01</Key>"
        "<UploadId>2~id</UploadId></InitiateMultipartUploadResult>";
    static const char stored[] = "<x:CompleteMultipartUploadResult xmlns:x=\"u\"><x:Location>http://h/b/a&#x1b;</x:Location>"
        "<x:Key>&#1;</x:Key><x:ETag>e-2</x:ETag></x:CompleteMultipartUploadResult>";
    static const char parts[] = "<ListPartsResult><Key>&#x1b;</Key><Part><PartNumber>1</PartNumber></Part></ListPartsResult>";
    static const char *const refused[] = {
        "<InitiateMultipartUploadResult><Key>a</Key><UploadId>\x1b</UploadId></InitiateMultipartUploadResult>",
        "<InitiateMultipartUploadResult><Key>a</Key><UploadId>&#x1b;</UploadId></InitiateMultipartUploadResult>",
        "<InitiateMultipartUploadResult><Keys>\x1b</Keys><UploadId>i</UploadId></InitiateMultipartUploadResult>",
        "<InitiateMultipartUploadResult><UploadId>i</UploadId><Key>a\x1b",
        "<InitiateMultipartUploadResult><Key>a</InitiateMultipartUploadResult>",
        "<Key>\x1b<", "<Key", "<",
    };
    static const char listed[] = "<ListBucketResult><Contents><Key>a&#x1b;</Key></Contents></ListBucketResult>";
    REQUEST *r = cloud_request_new(CLOUD_BUCKETS, NULL, NULL);
    bool more;

    (void)state;
    assert_int_equal(s3_xml_begun(begun, strlen(begun), r), 0);
    assert_string_equal(r->upload_id, "2~id");
    assert_int_equal(s3_xml_stored(stored, strlen(stored), r), 0);
    assert_string_equal(r->object.etag, "e-2");
    assert_int_equal(s3_xml_parts(parts, strlen(parts), r, &more), 0);
    assert_int_equal(r->n_parts, 1);
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_true(s3_xml_begun(refused[i], strlen(refused[i]), r) < 0);
    assert_int_equal(s3_xml_list(listed, strlen(listed), r), -EBADMSG);
}

/* --- headers -------------------------------------------------------------------------------------- */

static void content_ranges(void **state)
{
    static const char *const bad[] = { "", "bytes", "bytes 0-9", "bytes 0-9/", "bytes 0-9/*", "bytes */10",
        "bytes 9-0/10", "bytes 0-10/10",
        "bytes -1-9/10", "bytes 0-9/10x", "bytes 0-9/10 ", "octets 0-9/10", "bytes 0-9-5/10",
            "bytes 99999999999999999999-9/10" };
    uint64_t first, last, size;

    (void)state;
    assert_int_equal(s3_content_range("bytes 5-9/100", &first, &last, &size), 0);
    assert_true(first == 5 && last == 9 && size == 100);
    assert_int_equal(s3_content_range("bytes 0-0/1", &first, &last, &size), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (s3_content_range(bad[i], &first, &last, &size) != -EBADMSG)
            fail_msg("%s was taken", bad[i]);
}

static void etags(void **state)
{
    static const struct { const char *text, *clean; } cases[] = {
        { "\"abc\"", "abc" }, { "abc", "abc" }, { "W/\"abc\"", "abc" }, { "\"\"", "" }, { "", "" }, { "\"a b\"", "" },
          { "\"a\nb\"", "" },
        { "\"a\xc3\xbc\"", "" }, { "\"abc", "abc" }, { "abc\"def", "abc" },
    };
    char out[S3_ETAG_MAX + 1], longer[S3_ETAG_MAX + 2];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        s3_etag_clean(cases[i].text, out);
        assert_string_equal(out, cases[i].clean);
    }
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    s3_etag_clean(longer, out);
    assert_string_equal(out, "");
}

static void base32(void **state)
{
    static const struct { const char *plain, *coded; } cases[] = {   /* RFC 4648, 10. */
        { "", "" }, { "f", "co" }, { "fo", "cpng" }, { "foo", "cpnmu" }, { "foob", "cpnmuog" }, { "fooba", "cpnmuoj1" },
        { "foobar", "cpnmuoj1e8" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_free) struct text t = TEXT_INIT(100);
        char plain[16] = "";

        assert_int_equal(base32hex_encode(&t, cases[i].plain, strlen(cases[i].plain)), 0);
        assert_string_equal(t.data ? t.data : "", cases[i].coded);
        assert_int_equal(base32hex_decode(cases[i].coded, strlen(cases[i].coded), plain), strlen(cases[i].plain));
        assert_string_equal(plain, cases[i].plain);
    }
    assert_int_equal(base32hex_decode("c", 1, (char[8]){ 0 }), -EINVAL);   /* bits left over */
    assert_int_equal(base32hex_decode("cw", 2, (char[8]){ 0 }), -EINVAL);
}

static void free_meta(struct cloud_meta *m)
{
    cloud_meta_free(m);
}

static void metadata_of_others(void **state)
{
    static const struct { const char *name, *value; bool has; int64_t mtime_ns; } mtimes[] = {
        { "mtime", "1700000000.123456789", true, INT64_C(1700000000123456789) }, { "mtime", "1700000000", true,
          INT64_C(1700000000000000000) },
        { "mtime", "1700000000.5", true, INT64_C(1700000000500000000) }, { "mtime", "-1.25", true, -1250000000 },
        { "mtime", "0", true, 0 }, { "mtime", "1.12345678987", true, 1123456789 }, { "mtime", "2020-01-02T03:04:05Z",
          true, INT64_C(1577934245000000000) },
        { "mtime", "", false, 0 }, { "mtime", "yesterday", false, 0 }, { "mtime", "-", false, 0 },
        { "mtime", "9999999999.5", true, INT64_C(9223372036000000000) }, { "mtime", "-99999999999", true,
          INT64_C(-9223372036000000000) },
        { "mtime", "99999999999999999999", true, INT64_C(9223372036000000000) }, { "mtime", "2300-01-01T00:00:00Z", true,
          INT64_C(9223372036000000000) },
        { "s3cmd-attrs", "uid:0/gname:root/uname:root/gid:0/mode:33188/mtime:1600000000/atime:1/ctime:1", true,
          INT64_C(1600000000000000000) },
        { "mc-attrs", "atime:1#1/gid:0/mode:33188/mtime:1600000000#5/uid:0", true, INT64_C(1600000000000000000) },
    };
    static const struct { const char *value; bool has; uint32_t mode; } modes[] = {
        { "33188", true, S_IFREG | 0644 }, { "16877", true, S_IFDIR | 0755 }, { "100644", true, S_IFREG | 0644 },
          { "0100755", true, S_IFREG | 0755 },
        { "644", true, 0644 }, { "0600", true, 0600 }, { "", false, 0 }, { "rw", false, 0 }, { "-1", false, 0 },
          { "999999", false, 0 },
        { "41471", true, S_IFLNK | 0777 },
    };
    char name[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mtimes); i++) {
        CLEANUP(pairs_free) struct pairs h = PAIRS_INIT(1000);
        CLEANUP(free_meta) struct cloud_meta m = { 0 };

        (void)snprintf(name, sizeof(name), "x-amz-meta-%s", mtimes[i].name);
        pairs_add(&h, name, mtimes[i].value);
        s3_meta_get(&h, &m);
        if (m.has_mtime != mtimes[i].has || (m.has_mtime && m.mtime_ns != mtimes[i].mtime_ns))
            fail_msg("%s: %d %lld", mtimes[i].value, m.has_mtime, (long long)m.mtime_ns);
    }
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        CLEANUP(pairs_free) struct pairs h = PAIRS_INIT(1000);
        CLEANUP(free_meta) struct cloud_meta m = { 0 };

        pairs_add(&h, "x-amz-meta-mode", modes[i].value);
        s3_meta_get(&h, &m);
        if (m.has_mode != modes[i].has || m.mode != modes[i].mode)
            fail_msg("%s: %d %o", modes[i].value, m.has_mode, m.mode);
    }
}

static void metadata_as_written(void **state)
{
    static const struct { const char *name, *value; } expected[] = {
        { "x-amz-meta-mtime", "-1.500000000" }, { "x-amz-meta-mode", "41471" }, { "x-amz-meta-uid", "1000" },
          { "x-amz-meta-gid", "0" },
        { "x-amz-meta-landfall-symlink", "../a%20b/%C3%BC" }, { "x-amz-meta-landfall-xattr-elpmashec4", "AAE=" },
        { "x-amz-meta-landfall-xattr-elpmashec8", "=" },
    };
    struct cloud_xattr xattrs[] = { { (char *)"user.a", (void *)"\0\1", 2 }, { (char *)"user.b", (void *)"", 0 } };
    struct cloud_meta m = { .has_mtime = true, .mtime_ns = -1500000000, .has_mode = true, .mode = S_IFLNK | 0777,
        .has_owner = true,
        .uid = 1000, .symlink = (char *)"../a b/\xc3\xbc", .xattrs = xattrs, .n_xattrs = 2 };
    CLEANUP(pairs_free) struct pairs h = PAIRS_INIT(10000);
    CLEANUP(free_meta) struct cloud_meta back = { 0 };
    struct error e = { 0 };

    (void)state;
    assert_int_equal(s3_meta_put(&m, &h, &e), 0);
    assert_int_equal(h.n, ARRAY_SIZE(expected));
    for (size_t i = 0; i < h.n; i++) {
        assert_string_equal(h.v[i].name, expected[i].name);
        assert_string_equal(h.v[i].value, expected[i].value);
    }
    s3_meta_get(&h, &back);
    assert_int_equal(back.mtime_ns, m.mtime_ns);
    assert_string_equal(back.symlink, m.symlink);
    assert_int_equal(back.n_xattrs, 2);
    assert_string_equal(back.xattrs[0].name, "user.a");
    assert_memory_equal(back.xattrs[0].value, "\0\1", 2);
    assert_int_equal(back.xattrs[1].size, 0);
}

static void too_much_metadata(void **state)
{
    char value[1700];
    struct cloud_xattr xattr = { (char *)"user.large", value, sizeof(value) };
    struct cloud_meta m = { .xattrs = &xattr, .n_xattrs = 1 };
    CLEANUP(pairs_free) struct pairs h = PAIRS_INIT(10000);
    struct error e = { 0 };

    (void)state;
    memset(value, 'x', sizeof(value));
    assert_int_equal(s3_meta_put(&m, &h, &e), -E2BIG);
    assert_true(e.text[0] != '\0');
    assert_int_equal(h.n, 0);
    xattr.size = 1000;
    assert_int_equal(s3_meta_put(&m, &h, &e), 0);
}

static void metadata_that_is_noise(void **state)
{
    static const char *const headers[][2] = {
        { "x-amz-meta-landfall-symlink", "%zz" }, { "x-amz-meta-landfall-symlink", "a%00b" },
          { "x-amz-meta-landfall-symlink", "" },
        { "x-amz-meta-landfall-xattr-", "AA==" }, { "x-amz-meta-landfall-xattr-zz", "AA==" },
          { "x-amz-meta-landfall-xattr-elpmashec4", "###" },
        { "x-amz-meta-uid", "-1" }, { "x-amz-meta-gid", "99999999999" }, { "x-amz-meta-s3cmd-attrs",
          "////:::mode:/uid:x" },
    };
    CLEANUP(pairs_free) struct pairs h = PAIRS_INIT(10000);
    CLEANUP(free_meta) struct cloud_meta m = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        pairs_add(&h, headers[i][0], headers[i][1]);
    s3_meta_get(&h, &m);
    assert_false(m.has_mtime || m.has_mode || m.has_owner);
    assert_null(m.symlink);
    assert_int_equal(m.n_xattrs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listings), cmocka_unit_test(listings_without_coding), cmocka_unit_test(bad_listings),
            cmocka_unit_test(cut_listings),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(errors), cmocka_unit_test(other_documents), cmocka_unit_test(keys_that_no_xml_can_carry),
        cmocka_unit_test(content_ranges),
            cmocka_unit_test(etags),
        cmocka_unit_test(base32), cmocka_unit_test(metadata_of_others), cmocka_unit_test(metadata_as_written),
        cmocka_unit_test(too_much_metadata), cmocka_unit_test(metadata_that_is_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
