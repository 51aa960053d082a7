-- The same change as ../postgres/0012_client_certificates.sql; a test compares the columns.

-- The subject that a client's certificate must have for tls_client_auth (RFC 8705 §2.1.2): both or neither.
ALTER TABLE clients ADD COLUMN certificate_subject_kind TEXT;
ALTER TABLE clients ADD COLUMN certificate_subject TEXT;

-- The certificates of self_signed_tls_client_auth (RFC 8705 §2.2).
CREATE TABLE client_certificates (
    client         BLOB NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    certificate_id TEXT NOT NULL,
    der            BLOB NOT NULL,
    thumbprint     TEXT NOT NULL, -- x5t#S256
    subject        TEXT NOT NULL, -- for people
    description    TEXT NOT NULL,
    not_before     INTEGER NOT NULL,
    not_after      INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    ends_at        INTEGER NOT NULL, -- of its validity, or that end, whichever comes first
    unwarned_end   INTEGER, -- that end, until somebody was warned of it
    PRIMARY KEY (client, certificate_id)
) STRICT;

-- What is to be warned of, and what is counted.
CREATE INDEX client_certificates_to_warn_of ON client_certificates (unwarned_end, client, certificate_id)
    WHERE unwarned_end IS NOT NULL;
CREATE INDEX client_certificates_by_end ON client_certificates (ends_at, client, certificate_id);
