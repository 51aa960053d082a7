-- The same tables as ../postgres/0001_foundation.sql; a test compares the columns.
-- Times are microseconds since the epoch. UUIDs are 16-byte blobs, truth values 0 and 1, JSON is text.

CREATE TABLE resource_servers (
    uid               BLOB PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    identifier        TEXT NOT NULL UNIQUE,
    description       TEXT NOT NULL,
    token_lifetime    INTEGER NOT NULL, -- seconds
    signing_algorithm TEXT NOT NULL,
    token_profile     TEXT NOT NULL,
    enabled           INTEGER NOT NULL,
    builtin           INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;

CREATE TABLE permissions (
    resource_server BLOB NOT NULL REFERENCES resource_servers (uid) ON DELETE CASCADE,
    permission      TEXT NOT NULL,
    description     TEXT NOT NULL,
    PRIMARY KEY (resource_server, permission)
) STRICT;

CREATE TABLE roles (
    uid         BLOB PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    builtin     INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

-- A permission in use cannot be removed: the reference is restricted on purpose.
CREATE TABLE role_permissions (
    role            BLOB NOT NULL REFERENCES roles (uid) ON DELETE CASCADE,
    resource_server BLOB NOT NULL,
    permission      TEXT NOT NULL,
    PRIMARY KEY (role, resource_server, permission),
    FOREIGN KEY (resource_server, permission) REFERENCES permissions (resource_server, permission)
) STRICT;
CREATE INDEX role_permissions_by_permission ON role_permissions (resource_server, permission);

CREATE TABLE clients (
    uid                     BLOB PRIMARY KEY,
    client_id               TEXT NOT NULL UNIQUE,
    description             TEXT NOT NULL,
    kind                    TEXT NOT NULL,
    owner                   TEXT,
    labels                  TEXT NOT NULL,
    enabled                 INTEGER NOT NULL,
    expires_at              INTEGER,
    default_resource_server BLOB REFERENCES resource_servers (uid),
    grant_types             TEXT NOT NULL,
    auth_methods            TEXT NOT NULL,
    allowed_networks        TEXT NOT NULL,
    search                  TEXT NOT NULL, -- identifier, description and owner in lower case
    version                 INTEGER NOT NULL,
    created_at              INTEGER NOT NULL,
    updated_at              INTEGER NOT NULL
) STRICT;
CREATE INDEX clients_by_default_resource_server ON clients (default_resource_server);

CREATE TABLE client_secrets (
    client      BLOB NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    secret_id   TEXT NOT NULL,
    hash        TEXT NOT NULL, -- argon2id, PHC form
    origin      TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    PRIMARY KEY (client, secret_id)
) STRICT;

-- A role that somebody has cannot be removed: the reference to it is restricted on purpose.
CREATE TABLE client_roles (
    client      BLOB NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    role        BLOB NOT NULL REFERENCES roles (uid),
    assigned_at INTEGER NOT NULL,
    PRIMARY KEY (client, role)
) STRICT;
CREATE INDEX client_roles_by_role ON client_roles (role);

-- The unique generation makes one replica win when several make a key at once.
CREATE TABLE signing_keys (
    kid            TEXT PRIMARY KEY,
    algorithm      TEXT NOT NULL,
    generation     INTEGER NOT NULL,
    public_jwk     TEXT NOT NULL,
    sealed_private BLOB NOT NULL,
    created_at     INTEGER NOT NULL,
    activates_at   INTEGER NOT NULL,
    leaves_at      INTEGER,
    UNIQUE (algorithm, generation)
) STRICT;

-- What replicas read to learn what changed. The number comes from one counter row that is updated
-- last in each transaction, so that numbers become visible in their order and none is ever missed.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, value) VALUES ('changes', 0);

CREATE TABLE changes (
    seq     INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_events (
    id         BLOB PRIMARY KEY,
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    client_id  TEXT,
    jti        TEXT,
    txn        TEXT,
    origin     TEXT NOT NULL,
    detail     TEXT NOT NULL
) STRICT;
