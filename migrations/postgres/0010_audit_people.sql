-- The same columns as in ../sqlite/0010_audit_people.sql; a test compares them.

-- Who did it, when that was a person, and which client it was done to: both repeat what `event` says, for finding it.
-- Tokens have neither, so that the indexes stay as small as there are changes.
ALTER TABLE audit_events ADD COLUMN person TEXT COLLATE "C";
ALTER TABLE audit_events ADD COLUMN about TEXT COLLATE "C";

-- By the text and not as JSON: somebody may have altered it, and not every text of an event is one that JSONB takes.
UPDATE audit_events
SET person = REPLACE(REPLACE(COALESCE(
        SUBSTRING(event FROM '"actor":\{"type":"person","name":"((?:[^"\\]|\\.)*)"'),
        SUBSTRING(event FROM '"actor":\{"type":"command_line","user":"((?:[^"\\]|\\.)*)"'),
        SUBSTRING(event FROM '^\{"kind":"sign_in_refused","claimed_name":"((?:[^"\\]|\\.)*)"')
    ), '\"', '"'), '\\', '\'),
    about = REPLACE(REPLACE(COALESCE(
        SUBSTRING(event FROM '^\{"kind":"changed","actor":.*?,"action":"client\.[a-z_.]*","target":"((?:[^"\\]|\\.)*)"'),
        SUBSTRING(event FROM '^\{"kind":"revoked","actor":.*?,"what":"client","subject":"((?:[^"\\]|\\.)*)"')
    ), '\"', '"'), '\\', '\')
WHERE kind NOT IN ('token_issued', 'token_refused');

CREATE INDEX audit_events_by_person ON audit_events (person, at) WHERE person IS NOT NULL;
CREATE INDEX audit_events_about ON audit_events (about, at) WHERE about IS NOT NULL;

-- Whose turn it is to check the whole audit, and until when: of several replicas one does.
CREATE TABLE turns (
    what    TEXT COLLATE "C" PRIMARY KEY,
    holder  UUID NOT NULL,
    ends_at BIGINT NOT NULL
);
