# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /src

# The dependencies alone, so that a change to Jeton's own code does not compile them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

# Cargo goes by modification times, and the copied files are older than the empty ones just built.
COPY . .
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && mkdir -m 0700 /data

# glibc and the certificate authorities; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/jeton /usr/local/bin/jeton
COPY --from=build --chown=nonroot:nonroot /data /var/lib/jeton

# Everything else is the operator's to say. Without it Jeton listens on the container's own loopback only.
ENV JETON_DATA_DIR=/var/lib/jeton
EXPOSE 8080

# GET /readyz on the configured listener: the image has no curl.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/jeton", "health"]
ENTRYPOINT ["/usr/local/bin/jeton"]
CMD ["serve"]
