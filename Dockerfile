# Jeton without a shell, as a user without rights, good for a read-only root:
#
#     docker build --tag jeton .
#     docker run --read-only --cap-drop ALL --volume jeton-data:/var/lib/jeton jeton serve
#
# Two images come from elsewhere, and their tags move. Who wants the same bytes again names them by digest:
#
#     docker build --build-arg RUST_IMAGE=rust:1.95.0-bookworm@sha256:… --build-arg BASE_IMAGE=…@sha256:… .
#
# The compiler is that of rust-toolchain.toml, the crates are those of Cargo.lock, and the path is always /src.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# "pkcs11" for keys in a PKCS#11 token; the library of its maker has to be mounted.
ARG FEATURES=""
WORKDIR /src

# The dependencies alone, so that a change to Jeton's own code does not compile them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --features "${FEATURES}" \
    && rm -r src

# Cargo goes by modification times, and the copied files are older than the empty ones just built.
COPY . .
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --features "${FEATURES}" \
    && mkdir -m 0700 /data

# glibc and the certificate authorities; no shell, no package manager.
FROM ${BASE_IMAGE}
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Jeton" \
      org.opencontainers.image.description="An OAuth 2 / OpenID Connect authorization server for non-human identities" \
      org.opencontainers.image.source="https://github.com/jeton-dev/jeton" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /src/LICENSE /usr/share/doc/jeton/LICENSE
COPY --from=build /src/target/release/jeton /usr/local/bin/jeton
COPY --from=build --chown=65532:65532 /data /var/lib/jeton

# By number: Kubernetes' runAsNonRoot cannot know who a name is.
USER 65532:65532

# Everything else is the operator's to say. Without it Jeton listens on the container's own loopback only.
ENV JETON_DATA_DIR=/var/lib/jeton
EXPOSE 8080

# It stops by SIGTERM, which is also what engines send, and has then 15 seconds for its callers.
STOPSIGNAL SIGTERM

# GET /readyz on the configured listener: the image has no curl.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/jeton", "health"]
ENTRYPOINT ["/usr/local/bin/jeton"]
CMD ["serve"]
