/* The least that libevent's own HTTP server can do: one byte for every request. For the bench, beside GET agent_status. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void on_request(struct evhttp_request *r, void *arg)
{
    struct evbuffer *body = evbuffer_new();

    (void)arg;
    evbuffer_add(body, "1", 1);
    evhttp_add_header(evhttp_request_get_output_headers(r), "Content-Type", "application/json");
    evhttp_send_reply(r, HTTP_OK, "OK", body);
    evbuffer_free(body);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);

    if (argc != 2 || evhttp_bind_socket(http, "127.0.0.1", (uint16_t)atoi(argv[1])) < 0) {
        fprintf(stderr, "usage: hello PORT\n");
        return EXIT_FAILURE;
    }
    evhttp_set_gencb(http, on_request, NULL);
    return event_base_dispatch(base) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
