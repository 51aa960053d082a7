-- The same change as ../sqlite/0015_outside_subjects.sql; a test compares the columns.

-- The subject of an exchange rule may be from elsewhere: whoever a token of a trusted issuer is about that fulfils
-- conditions. So may who acts. A trusted issuer that a rule names cannot be removed: on purpose.
ALTER TABLE exchange_rules
    ADD COLUMN subject_issuer     UUID REFERENCES trusted_issuers (uid),
    ADD COLUMN subject_conditions TEXT, -- JSON
    ADD COLUMN actor_issuer       UUID REFERENCES trusted_issuers (uid),
    ADD COLUMN actor_conditions   TEXT, -- JSON
    DROP CONSTRAINT exchange_rules_check1,
    ADD CHECK (num_nonnulls(subject_client, subject_role, subject_issuer) = 1),
    ADD CHECK ((subject_issuer IS NULL) = (subject_conditions IS NULL)),
    ADD CHECK ((actor_issuer IS NULL) = (actor_conditions IS NULL));
CREATE INDEX exchange_rules_by_subject_issuer ON exchange_rules (subject_issuer);
CREATE INDEX exchange_rules_by_actor_issuer ON exchange_rules (actor_issuer);
