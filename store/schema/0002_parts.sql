-- Uploads in parts: which parts of a session are stored whole, and how sessions ended.

-- 'sequence' or 'parts'. Of a session in parts: what its client said the whole shall be called, a digest or a
-- temporary name; and, once it is complete under a temporary name, the digest and size of the whole.
ALTER TABLE upload ADD COLUMN kind text NOT NULL DEFAULT 'sequence';
ALTER TABLE upload ADD COLUMN target text NOT NULL DEFAULT '';
ALTER TABLE upload ADD COLUMN assembled_digest text;
ALTER TABLE upload ADD COLUMN assembled_bytes bigint;

-- A part that arrived whole and was synced. A range that is being replaced has no row meanwhile.
CREATE TABLE upload_part (
    upload_id text NOT NULL,
    number bigint NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    PRIMARY KEY (upload_id, number)
);

-- How a session in parts ended, kept for some days: for the same answer to the same question.
CREATE TABLE upload_ended (
    id text NOT NULL PRIMARY KEY,
    repository text NOT NULL,
    owner text NOT NULL,
    target text NOT NULL,
    how text NOT NULL,  -- done, aborted, expired or refused
    digest text NOT NULL,  -- of the whole; empty unless done
    size_bytes bigint NOT NULL,
    parts bigint NOT NULL,
    ended_at_s double precision NOT NULL
);
CREATE INDEX upload_ended_by_time ON upload_ended (ended_at_s);
