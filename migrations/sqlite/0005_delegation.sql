-- The same change as ../postgres/0005_delegation.sql; a test compares the columns.

-- Which clients run a resource server: they may introspect its tokens, and exchange tokens addressed to it.
CREATE TABLE operators (
    client          BLOB NOT NULL REFERENCES clients (uid) ON DELETE CASCADE,
    resource_server BLOB NOT NULL REFERENCES resource_servers (uid) ON DELETE CASCADE,
    assigned_at     INTEGER NOT NULL,
    PRIMARY KEY (client, resource_server)
) STRICT;
CREATE INDEX operators_by_resource_server ON operators (resource_server);

-- Who may pass whose identity on, towards what. Caller and subject are each a client or a role. Whatever a rule
-- names cannot be removed: the references are restricted on purpose.
CREATE TABLE exchange_rules (
    uid             BLOB PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    description     TEXT NOT NULL,
    enabled         INTEGER NOT NULL,
    expires_at      INTEGER,
    caller_client   BLOB REFERENCES clients (uid),
    caller_role     BLOB REFERENCES roles (uid),
    subject_client  BLOB REFERENCES clients (uid),
    subject_role    BLOB REFERENCES roles (uid),
    resource_server BLOB NOT NULL REFERENCES resource_servers (uid),
    mode            TEXT NOT NULL,
    max_depth       INTEGER NOT NULL,
    token_lifetime  INTEGER, -- seconds
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    CHECK ((caller_client IS NULL) <> (caller_role IS NULL)),
    CHECK ((subject_client IS NULL) <> (subject_role IS NULL))
) STRICT;
CREATE INDEX exchange_rules_by_caller_client ON exchange_rules (caller_client);
CREATE INDEX exchange_rules_by_caller_role ON exchange_rules (caller_role);
CREATE INDEX exchange_rules_by_subject_client ON exchange_rules (subject_client);
CREATE INDEX exchange_rules_by_subject_role ON exchange_rules (subject_role);
CREATE INDEX exchange_rules_by_resource_server ON exchange_rules (resource_server);

-- The most that a rule lets through.
CREATE TABLE exchange_rule_permissions (
    rule            BLOB NOT NULL REFERENCES exchange_rules (uid) ON DELETE CASCADE,
    resource_server BLOB NOT NULL,
    permission      TEXT NOT NULL,
    PRIMARY KEY (rule, permission),
    FOREIGN KEY (resource_server, permission) REFERENCES permissions (resource_server, permission)
) STRICT;
CREATE INDEX exchange_rule_permissions_by_permission ON exchange_rule_permissions (resource_server, permission);

-- Resource servers whose tokens the caller may exchange although it does not operate them.
CREATE TABLE exchange_rule_sources (
    rule            BLOB NOT NULL REFERENCES exchange_rules (uid) ON DELETE CASCADE,
    resource_server BLOB NOT NULL REFERENCES resource_servers (uid),
    PRIMARY KEY (rule, resource_server)
) STRICT;
CREATE INDEX exchange_rule_sources_by_resource_server ON exchange_rule_sources (resource_server);

-- What was taken back before its end: a token by its jti, a chain by its txn, everything of a client until then.
CREATE TABLE revocations (
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL, -- when all that it is about has ended by itself
    PRIMARY KEY (kind, subject)
) STRICT;
CREATE INDEX revocations_by_end ON revocations (ends_at);

-- Random bytes that all replicas share, sealed under the master key.
CREATE TABLE shared_secrets (
    name       TEXT PRIMARY KEY,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Who alone may act for the client (RFC 8693 section 4.4).
ALTER TABLE clients ADD COLUMN may_act TEXT;

-- Whether tokens must be bound to a key of whoever presents them.
ALTER TABLE clients ADD COLUMN token_binding TEXT NOT NULL DEFAULT 'optional';
ALTER TABLE resource_servers ADD COLUMN token_binding TEXT NOT NULL DEFAULT 'optional';
