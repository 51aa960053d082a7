/* Gives wrk a client certificate: loaded before it (LD_PRELOAD), it adds one to every TLS context that wrk makes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
int SSL_CTX_use_certificate_file(SSL_CTX *, const char *, int);
int SSL_CTX_use_PrivateKey_file(SSL_CTX *, const char *, int);
#define PEM 1

SSL_CTX *SSL_CTX_new(const SSL_METHOD *method) {
    SSL_CTX *(*next)(const SSL_METHOD *);
    *(void **)&next = dlsym(RTLD_NEXT, "SSL_CTX_new");
    SSL_CTX *context = next(method);
    const char *certificate = getenv("BENCH_CERTIFICATE"), *key = getenv("BENCH_KEY");
    if (context && certificate && key
        && (SSL_CTX_use_certificate_file(context, certificate, PEM) != 1
            || SSL_CTX_use_PrivateKey_file(context, key, PEM) != 1))
        abort();
    return context;
}
