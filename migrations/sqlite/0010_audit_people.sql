-- The same columns as in ../postgres/0010_audit_people.sql; a test compares them.

-- Who did it, when that was a person, and which client it was done to: both repeat what `event` says, for finding it.
-- Tokens have neither, so that the indexes stay as small as there are changes.
ALTER TABLE audit_events ADD COLUMN person TEXT;
ALTER TABLE audit_events ADD COLUMN about TEXT;

UPDATE audit_events
SET person = COALESCE(
        CASE WHEN event ->> '$.actor.type' IN ('person', 'command_line')
            THEN COALESCE(event ->> '$.actor.name', event ->> '$.actor.user') END,
        event ->> '$.claimed_name'),
    about = CASE
        WHEN kind = 'changed' AND event ->> '$.action' LIKE 'client.%' THEN event ->> '$.target'
        WHEN kind = 'revoked' AND event ->> '$.what' = 'client' THEN event ->> '$.subject' END
WHERE kind NOT IN ('token_issued', 'token_refused') AND json_valid(event);

CREATE INDEX audit_events_by_person ON audit_events (person, at) WHERE person IS NOT NULL;
CREATE INDEX audit_events_about ON audit_events (about, at) WHERE about IS NOT NULL;

-- Whose turn it is to check the whole audit, and until when: of several replicas one does.
CREATE TABLE turns (
    what    TEXT PRIMARY KEY,
    holder  BLOB NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
