-- The same tables as ../sqlite/0001_foundation.sql; a test compares the columns.
-- Times are microseconds since the epoch. Texts that are sorted or compared use the C collation,
-- so that both engines order them by their bytes.

CREATE TABLE resource_servers (
    uid               UUID PRIMARY KEY,
    name              TEXT COLLATE "C" NOT NULL UNIQUE,
    identifier        TEXT COLLATE "C" NOT NULL UNIQUE,
    description       TEXT NOT NULL,
    token_lifetime    BIGINT NOT NULL, -- seconds
    signing_algorithm TEXT NOT NULL,
    token_profile     TEXT NOT NULL,
    enabled           BOOLEAN NOT NULL,
    builtin           BOOLEAN NOT NULL,
    version           BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL
);

CREATE TABLE permissions (
    resource_server UUID NOT NULL REFERENCES resource_servers (uid) ON DELETE CASCADE,
    permission      TEXT COLLATE "C" NOT NULL,
    description     TEXT NOT NULL,
    PRIMARY KEY (resource_server, permission)
);

CREATE TABLE roles (
    uid         UUID PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL UNIQUE,
    description TEXT NOT NULL,
    builtin     BOOLEAN NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

-- A permission in use cannot be removed: the reference is restricted on purpose.
CREATE TABLE role_permissions (
    role            UUID NOT NULL REFERENCES roles (uid) ON DELETE CASCADE,
    resource_server UUID NOT NULL,
    permission      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (role, resource_server, permission),
    FOREIGN KEY (resource_server, permission) REFERENCES permissions (resource_server, permission)
);
CREATE INDEX role_permissions_by_permission ON role_permissions (resource_server, permission);

CREATE TABLE clients (
    uid                     UUID PRIMARY KEY,
    client_id               TEXT COLLATE "C" NOT NULL UNIQUE,
    description             TEXT NOT NULL,
    kind                    TEXT NOT NULL,
    owner                   TEXT,
    labels                  JSONB NOT NULL,
    enabled                 BOOLEAN NOT NULL,
    expires_at              BIGINT,
    default_resource_server UUID REFERENCES resource_servers (uid),
    grant_types             JSONB NOT NULL,
    auth_methods            JSONB NOT NULL,
    allowed_networks        JSONB NOT NULL,
    search                  TEXT NOT NULL, -- identifier, description and owner in lower case
    version                 BIGINT NOT NULL,
    created_at              BIGINT NOT NULL,
    updated_at              BIGINT NOT NULL
);
CREATE INDEX clients_by_default_resource_server ON clients (default_resource_server);

CREATE TABLE client_secrets (
    client      UUID NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    secret_id   TEXT COLLATE "C" NOT NULL,
    hash        TEXT NOT NULL, -- argon2id, PHC form
    origin      TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT,
    PRIMARY KEY (client, secret_id)
);

-- A role that somebody has cannot be removed: the reference to it is restricted on purpose.
CREATE TABLE client_roles (
    client      UUID NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    role        UUID NOT NULL REFERENCES roles (uid),
    assigned_at BIGINT NOT NULL,
    PRIMARY KEY (client, role)
);
CREATE INDEX client_roles_by_role ON client_roles (role);

-- The unique generation makes one replica win when several make a key at once.
CREATE TABLE signing_keys (
    kid            TEXT COLLATE "C" PRIMARY KEY,
    algorithm      TEXT NOT NULL,
    generation     BIGINT NOT NULL,
    public_jwk     JSONB NOT NULL,
    sealed_private BYTEA NOT NULL,
    created_at     BIGINT NOT NULL,
    activates_at   BIGINT NOT NULL,
    leaves_at      BIGINT,
    UNIQUE (algorithm, generation)
);

-- What replicas read to learn what changed. The number comes from one counter row that is updated
-- last in each transaction, so that numbers become visible in their order and none is ever missed.
CREATE TABLE counters (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('changes', 0);

CREATE TABLE changes (
    seq     BIGINT PRIMARY KEY,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    at      BIGINT NOT NULL
);

CREATE TABLE audit_events (
    id         UUID PRIMARY KEY,
    at         BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    client_id  TEXT COLLATE "C",
    jti        TEXT COLLATE "C",
    txn        TEXT COLLATE "C",
    origin     JSONB NOT NULL,
    detail     JSONB NOT NULL
);
