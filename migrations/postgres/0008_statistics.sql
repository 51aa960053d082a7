-- The same tables as ../sqlite/0008_statistics.sql; a test compares the columns.
-- What the audit's events add up to (docs/statistics.md). All of it can be made anew from them.

-- How far each chain has been counted: the place and time of the last counted event, and whether none can follow.
ALTER TABLE audit_chains ADD COLUMN counted_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_chains ADD COLUMN counted_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_chains ADD COLUMN counted_whole BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX audit_chains_uncounted ON audit_chains (started_at) WHERE NOT counted_whole;

-- When everything that was there had been counted.
INSERT INTO counters (name, value) VALUES ('statistics', 0);

-- Tokens and refusals of all clients together, by hour. `outcome` is `issued`, or the error.
CREATE TABLE token_totals (
    hour       BIGINT NOT NULL,
    grant_type TEXT COLLATE "C" NOT NULL,
    outcome    TEXT COLLATE "C" NOT NULL,
    tokens     BIGINT NOT NULL,
    PRIMARY KEY (hour, grant_type, outcome)
);

-- The same of each client; without a name what no registered client has done. By hour for a short time.
CREATE TABLE token_hours (
    client_id  TEXT COLLATE "C" NOT NULL,
    hour       BIGINT NOT NULL,
    grant_type TEXT COLLATE "C" NOT NULL,
    outcome    TEXT COLLATE "C" NOT NULL,
    tokens     BIGINT NOT NULL,
    PRIMARY KEY (client_id, hour, grant_type, outcome)
);
CREATE INDEX token_hours_by_hour ON token_hours (hour);

-- And by day.
CREATE TABLE token_days (
    day        BIGINT NOT NULL,
    client_id  TEXT COLLATE "C" NOT NULL,
    grant_type TEXT COLLATE "C" NOT NULL,
    outcome    TEXT COLLATE "C" NOT NULL,
    tokens     BIGINT NOT NULL,
    PRIMARY KEY (day, client_id, grant_type, outcome)
);
CREATE INDEX token_days_by_client ON token_days (client_id, day);
CREATE INDEX token_days_by_number ON token_days (day, tokens);

-- Who got tokens for what, by hour, for a few hours.
CREATE TABLE audience_hours (
    audience  TEXT COLLATE "C" NOT NULL,
    hour      BIGINT NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    tokens    BIGINT NOT NULL,
    PRIMARY KEY (hour, audience, client_id)
);

-- Who has acted for whom towards what, by day.
CREATE TABLE delegations (
    day       BIGINT NOT NULL,
    subject   TEXT COLLATE "C" NOT NULL,
    actor     TEXT COLLATE "C" NOT NULL,
    audience  TEXT COLLATE "C" NOT NULL,
    exchanges BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (day, subject, actor, audience)
);
-- Of a day, those with the most exchanges, and no more of them than are shown.
CREATE INDEX delegations_by_number ON delegations (day, exchanges);
CREATE INDEX delegations_by_subject ON delegations (subject, day, exchanges);
CREATE INDEX delegations_by_actor ON delegations (actor, day, exchanges);

-- Without references: whoever counts does not hold up whoever changes a client.
CREATE TABLE client_uses (
    client        UUID PRIMARY KEY,
    last_token_at BIGINT NOT NULL
);
CREATE TABLE secret_uses (
    client       UUID NOT NULL,
    secret_id    TEXT COLLATE "C" NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (client, secret_id)
);
