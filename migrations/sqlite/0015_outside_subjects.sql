-- The same change as ../postgres/0015_outside_subjects.sql; a test compares the columns.

-- The subject of an exchange rule may be from elsewhere: whoever a token of a trusted issuer is about that fulfils
-- conditions. So may who acts. A trusted issuer that a rule names cannot be removed: on purpose.
--
-- SQLite changes no CHECK, so the table is made anew. To drop it would delete what its rules name, and foreign keys
-- cannot be switched off within a transaction: so everything is kept aside, and the tables that refer to it go first.
CREATE TABLE kept_rules AS SELECT * FROM exchange_rules;
CREATE TABLE kept_permissions AS SELECT * FROM exchange_rule_permissions;
CREATE TABLE kept_sources AS SELECT * FROM exchange_rule_sources;
DROP TABLE exchange_rule_permissions;
DROP TABLE exchange_rule_sources;
DROP TABLE exchange_rules;

CREATE TABLE exchange_rules (
    uid                BLOB PRIMARY KEY,
    name               TEXT NOT NULL UNIQUE,
    description        TEXT NOT NULL,
    enabled            INTEGER NOT NULL,
    expires_at         INTEGER,
    caller_client      BLOB REFERENCES clients (uid),
    caller_role        BLOB REFERENCES roles (uid),
    subject_client     BLOB REFERENCES clients (uid),
    subject_role       BLOB REFERENCES roles (uid),
    resource_server    BLOB NOT NULL REFERENCES resource_servers (uid),
    mode               TEXT NOT NULL,
    max_depth          INTEGER NOT NULL,
    token_lifetime     INTEGER, -- seconds
    version            INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    subject_issuer     BLOB REFERENCES trusted_issuers (uid),
    subject_conditions TEXT, -- JSON
    actor_issuer       BLOB REFERENCES trusted_issuers (uid),
    actor_conditions   TEXT, -- JSON
    CHECK ((caller_client IS NULL) <> (caller_role IS NULL)),
    CHECK ((subject_client IS NOT NULL) + (subject_role IS NOT NULL) + (subject_issuer IS NOT NULL) = 1),
    CHECK ((subject_issuer IS NULL) = (subject_conditions IS NULL)),
    CHECK ((actor_issuer IS NULL) = (actor_conditions IS NULL))
) STRICT;
CREATE INDEX exchange_rules_by_caller_client ON exchange_rules (caller_client);
CREATE INDEX exchange_rules_by_caller_role ON exchange_rules (caller_role);
CREATE INDEX exchange_rules_by_subject_client ON exchange_rules (subject_client);
CREATE INDEX exchange_rules_by_subject_role ON exchange_rules (subject_role);
CREATE INDEX exchange_rules_by_resource_server ON exchange_rules (resource_server);
CREATE INDEX exchange_rules_by_subject_issuer ON exchange_rules (subject_issuer);
CREATE INDEX exchange_rules_by_actor_issuer ON exchange_rules (actor_issuer);

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

INSERT INTO exchange_rules (uid, name, description, enabled, expires_at, caller_client, caller_role, subject_client,
    subject_role, resource_server, mode, max_depth, token_lifetime, version, created_at, updated_at)
SELECT uid, name, description, enabled, expires_at, caller_client, caller_role, subject_client, subject_role,
    resource_server, mode, max_depth, token_lifetime, version, created_at, updated_at
FROM kept_rules;
INSERT INTO exchange_rule_permissions (rule, resource_server, permission)
SELECT rule, resource_server, permission FROM kept_permissions;
INSERT INTO exchange_rule_sources (rule, resource_server) SELECT rule, resource_server FROM kept_sources;
DROP TABLE kept_rules;
DROP TABLE kept_permissions;
DROP TABLE kept_sources;
