-- Everything that the first release has: types, tables, views, and the sums of runs.
-- The classes in storage/database/tables describe the same tables; a test compares the two.

CREATE TYPE job_kind AS ENUM ('ingest-project', 'create-release', 'build-release-stats',
    'compute-session-stats', 'quality-metrics', 'collection-inference', 'prepare-training-set');
CREATE TYPE job_status AS ENUM ('pending', 'processing', 'completed', 'completed_with_errors',
    'failed', 'cancelled');
CREATE TYPE measurement_status AS ENUM ('pending', 'processing', 'completed', 'failed');
CREATE TYPE job_chunk_state AS ENUM ('pending', 'processing', 'completed');
CREATE TYPE project_image_state AS ENUM ('present', 'missing');
CREATE TYPE release_stats_status AS ENUM ('pending', 'completed', 'failed', 'stale');
CREATE TYPE release_stats_source AS ENUM ('metadata', 'scan');
CREATE TYPE session_folder_state AS ENUM ('present', 'missing');
CREATE TYPE session_stats_source AS ENUM ('manifest', 'image_metadata', 'filesystem');
CREATE TYPE session_manifest_status AS ENUM ('ongoing', 'completed', 'aborted');

CREATE TABLE collections (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    source JSONB NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name)
);

CREATE TABLE jobs (
    id UUID NOT NULL,
    kind job_kind NOT NULL,
    subject TEXT NOT NULL,
    status job_status NOT NULL,
    total INTEGER NOT NULL,
    processed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    flow_run_id UUID,
    fencing_token INTEGER NOT NULL,
    error_message TEXT,
    parameters JSONB NOT NULL,
    result JSONB,
    cancel_requested BOOLEAN DEFAULT false NOT NULL,
    heartbeat_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
        CONSTRAINT ck_jobs_progress_within_total CHECK (processed >= 0 AND failed >= 0 AND processed
        + failed <= total),
    CONSTRAINT ck_jobs_error_message_length CHECK (char_length(error_message) <= 500)
);
CREATE INDEX ix_jobs_created_at ON jobs (created_at);
CREATE UNIQUE INDEX uq_jobs_active_kind_subject ON jobs (kind, subject) WHERE status IN ('pending',
    'processing');

CREATE TABLE models (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    weights_path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    task TEXT NOT NULL,
    class_names TEXT[] NOT NULL,
    format TEXT NOT NULL,
    image_size INTEGER NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name),
    UNIQUE (sha256)
);

CREATE TABLE project_ingests (
    project_id UUID NOT NULL,
    project_name TEXT NOT NULL,
    project_path TEXT NOT NULL,
    source TEXT NOT NULL,
    options_key TEXT NOT NULL,
    is_committing BOOLEAN DEFAULT false NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (project_id)
);

CREATE TABLE projects (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    description TEXT NOT NULL,
    class_names JSONB DEFAULT '{}'::jsonb NOT NULL,
    labels_fingerprint TEXT,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name),
    UNIQUE (path)
);

CREATE TABLE session_metadata (
    session_id TEXT NOT NULL,
    tags TEXT[] DEFAULT '{}'::text[] NOT NULL,
    flags TEXT[] DEFAULT '{}'::text[] NOT NULL,
    rating SMALLINT,
    note TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (session_id),
    CONSTRAINT ck_session_metadata_rating CHECK (rating BETWEEN 1 AND 5),
    CONSTRAINT ck_session_metadata_session_id CHECK (session_id <> '')
);

CREATE TABLE shared_images (
    id UUID NOT NULL,
    sha256 TEXT NOT NULL,
    file_path TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    file_size BIGINT NOT NULL,
    format TEXT,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (sha256)
);

CREATE TABLE collection_images (
    collection_id UUID NOT NULL,
    shared_image_id UUID NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    file_path TEXT NOT NULL,
    file_size BIGINT NOT NULL,
    modified_at_ns BIGINT NOT NULL,
    PRIMARY KEY (collection_id, shared_image_id),
    FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    FOREIGN KEY (shared_image_id) REFERENCES shared_images (id) ON DELETE CASCADE
);
CREATE INDEX ix_collection_images_shared_image_id ON collection_images (shared_image_id);

CREATE TABLE image_detections (
    model_id UUID NOT NULL,
    image_id UUID NOT NULL,
    settings TEXT NOT NULL,
    floor_confidence DOUBLE PRECISION NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    limit_reached BOOLEAN NOT NULL,
    detections JSONB NOT NULL,
    inference_ms DOUBLE PRECISION NOT NULL,
    computed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (model_id, image_id, settings),
    FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE,
    FOREIGN KEY (image_id) REFERENCES shared_images (id) ON DELETE CASCADE
);
CREATE INDEX ix_image_detections_image_id ON image_detections (image_id);

CREATE TABLE image_quality_metrics (
    shared_image_id UUID NOT NULL,
    status measurement_status NOT NULL,
    sharpness DOUBLE PRECISION,
    sharpness_variance DOUBLE PRECISION,
    brightness DOUBLE PRECISION,
    contrast DOUBLE PRECISION,
    red_avg DOUBLE PRECISION,
    green_avg DOUBLE PRECISION,
    blue_avg DOUBLE PRECISION,
    perceptual_hash TEXT,
    difference_hash TEXT,
    low_information BOOLEAN,
    focus DOUBLE PRECISION,
    p1 SMALLINT,
    p5 SMALLINT,
    p95 SMALLINT,
    p99 SMALLINT,
    clipped_black DOUBLE PRECISION,
    clipped_white DOUBLE PRECISION,
    entropy DOUBLE PRECISION,
    mode TEXT,
    exif_orientation SMALLINT,
    sample_rule TEXT,
    sample_low DOUBLE PRECISION,
    sample_high DOUBLE PRECISION,
    error_code TEXT,
    error_message TEXT,
    metrics_version INTEGER NOT NULL,
    pillow_version TEXT NOT NULL,
    opencv_version TEXT NOT NULL,
    computed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (shared_image_id),
        CONSTRAINT ck_image_quality_metrics_completed_has_values CHECK (status <> 'completed' OR
        (sharpness IS NOT NULL AND brightness IS NOT NULL AND contrast IS NOT NULL AND red_avg IS
        NOT NULL AND green_avg IS NOT NULL AND blue_avg IS NOT NULL AND perceptual_hash IS NOT
        NULL)),
        CONSTRAINT ck_image_quality_metrics_failed_has_message CHECK (status <> 'failed' OR
        error_message IS NOT NULL),
        CONSTRAINT ck_image_quality_metrics_error_message_length CHECK (char_length(error_message)
        <= 500),
    FOREIGN KEY (shared_image_id) REFERENCES shared_images (id) ON DELETE CASCADE
);

CREATE TABLE job_chunks (
    job_id UUID NOT NULL,
    number INTEGER NOT NULL,
    items UUID[] NOT NULL,
    state job_chunk_state NOT NULL,
    attempt INTEGER NOT NULL,
    position INTEGER NOT NULL,
    processed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (job_id, number),
        CONSTRAINT ck_job_chunks_progress CHECK (processed + failed = position AND position <=
        cardinality(items)),
    FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE
);

CREATE TABLE project_images (
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    shared_image_id UUID NOT NULL,
    relative_path TEXT NOT NULL,
    filename TEXT NOT NULL,
    is_labeled BOOLEAN DEFAULT false NOT NULL,
    label_path TEXT,
    label_format TEXT,
    label_count INTEGER,
    split TEXT,
    missing_since TIMESTAMPTZ,
    generated_from_id UUID,
    generation JSONB,
    file_size BIGINT NOT NULL,
    modified_at_ns BIGINT NOT NULL,
    state project_image_state NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (project_id, relative_path),
    FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE,
    FOREIGN KEY (shared_image_id) REFERENCES shared_images (id) ON DELETE CASCADE,
    FOREIGN KEY (generated_from_id) REFERENCES project_images (id) ON DELETE CASCADE
);
CREATE INDEX ix_project_images_generated_from_id ON project_images (generated_from_id) WHERE
    generated_from_id IS NOT NULL;
CREATE INDEX ix_project_images_shared_image_id ON project_images (shared_image_id);

CREATE TABLE releases (
    id UUID NOT NULL,
    project_id UUID,
    name TEXT NOT NULL,
    model_path TEXT NOT NULL,
    train_image_count INTEGER,
    val_image_count INTEGER,
    test_image_count INTEGER,
    class_count INTEGER,
    classes_json JSONB,
    shapes_json JSONB,
    problems_json JSONB,
    stats_status release_stats_status NOT NULL,
    stats_source release_stats_source,
    stats_error TEXT,
    archive_size BIGINT,
    archive_modified_at TIMESTAMPTZ,
    content_key TEXT,
    stats_version INTEGER,
    stats_computed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
        CONSTRAINT ck_releases_statistics_are_whole CHECK ((stats_computed_at IS NULL) =
        (train_image_count IS NULL OR val_image_count IS NULL OR test_image_count IS NULL OR
        class_count IS NULL OR classes_json IS NULL OR shapes_json IS NULL OR problems_json IS NULL
        OR stats_source IS NULL OR archive_size IS NULL OR archive_modified_at IS NULL OR
        content_key IS NULL OR stats_version IS NULL)),
        CONSTRAINT ck_releases_completed_has_statistics CHECK (stats_status IN ('pending', 'failed')
        OR stats_computed_at IS NOT NULL),
        CONSTRAINT ck_releases_failed_has_error CHECK ((stats_status = 'failed') = (stats_error IS
        NOT NULL)),
    CONSTRAINT ck_releases_stats_error_length CHECK (char_length(stats_error) <= 500),
    FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE SET NULL,
    UNIQUE (name),
    UNIQUE (model_path)
);
CREATE INDEX ix_releases_project_id ON releases (project_id);

CREATE TABLE runs (
    id UUID NOT NULL,
    collection_id UUID NOT NULL,
    model_id UUID NOT NULL,
    threshold DOUBLE PRECISION NOT NULL,
        threshold_thousandths INTEGER GENERATED ALWAYS AS (round(threshold * 1000)::int) STORED NOT
        NULL,
    image_size INTEGER NOT NULL,
    class_mapping JSONB,
    status job_status NOT NULL,
    total INTEGER NOT NULL,
    processed_count INTEGER NOT NULL,
    failed_count INTEGER NOT NULL,
    live_mussel_count INTEGER NOT NULL,
    dead_mussel_count INTEGER NOT NULL,
    class_counts JSONB NOT NULL,
    runtime TEXT,
    error_msg TEXT,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
        CONSTRAINT uq_runs_collection_model_threshold_size UNIQUE (collection_id, model_id,
        threshold_thousandths, image_size),
    CONSTRAINT ck_runs_threshold CHECK (threshold >= 0 AND threshold <= 1),
    CONSTRAINT ck_runs_error_msg_length CHECK (char_length(error_msg) <= 500),
    FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    FOREIGN KEY (model_id) REFERENCES models (id) ON DELETE CASCADE
);
CREATE INDEX ix_runs_model_id ON runs (model_id);

CREATE TABLE session_folders (
    id UUID NOT NULL,
    session_id TEXT NOT NULL,
    sessions_root TEXT NOT NULL,
    relative_path TEXT NOT NULL,
    state session_folder_state NOT NULL,
    missing_since TIMESTAMPTZ,
    folder_modified_at_ns BIGINT,
    manifest_modified_at_ns BIGINT,
    manifest_size BIGINT,
    error_message TEXT,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (sessions_root, relative_path),
    CONSTRAINT ck_session_folders_error_message_length CHECK (char_length(error_message) <= 500),
    UNIQUE (session_id),
    FOREIGN KEY (session_id) REFERENCES session_metadata (session_id) ON DELETE CASCADE
);

CREATE TABLE session_stats (
    session_id TEXT NOT NULL,
    session_path TEXT NOT NULL,
    sd_model TEXT,
    sd_model_hash TEXT,
    template_version TEXT,
    generation_mode TEXT,
    seed_mode TEXT,
    seed_base NUMERIC(20, 0),
    resolved_prompt TEXT,
    negative_prompt TEXT,
    width INTEGER,
    height INTEGER,
    steps INTEGER,
    cfg_scale DOUBLE PRECISION,
    sampler_name TEXT,
    images_expected BIGINT NOT NULL,
    images_actual BIGINT NOT NULL,
    completion_percentage DOUBLE PRECISION NOT NULL,
    is_seed_sweep BOOLEAN NOT NULL,
    placeholders_json JSONB DEFAULT '{}'::jsonb NOT NULL,
    variations_summary_json JSONB DEFAULT '{}'::jsonb NOT NULL,
    session_created_at TIMESTAMPTZ,
    manifest_generated_at TIMESTAMPTZ,
    first_image_created_at TIMESTAMPTZ,
    last_image_created_at TIMESTAMPTZ,
    stats_computed_at TIMESTAMPTZ NOT NULL,
    stats_version INTEGER NOT NULL,
    stats_source session_stats_source NOT NULL,
    manifest_status session_manifest_status,
    seed_min NUMERIC(20, 0),
    seed_max NUMERIC(20, 0),
    is_ongoing BOOLEAN NOT NULL,
    look_again BOOLEAN NOT NULL,
    images_listed BIGINT,
    images_listed_absent BIGINT,
    images_unlisted BIGINT,
    images_sampled INTEGER NOT NULL,
    problems JSONB DEFAULT '[]'::jsonb NOT NULL,
    PRIMARY KEY (session_id),
        CONSTRAINT ck_session_stats_counts CHECK (images_expected >= 0 AND images_actual >= 0 AND
        completion_percentage >= 0),
    FOREIGN KEY (session_id) REFERENCES session_metadata (session_id) ON DELETE CASCADE
);
CREATE INDEX ix_session_stats_completion_percentage ON session_stats (completion_percentage);
CREATE INDEX ix_session_stats_is_seed_sweep ON session_stats (is_seed_sweep, session_created_at DESC
    NULLS LAST, session_id);
CREATE INDEX ix_session_stats_sd_model ON session_stats (sd_model, session_created_at DESC NULLS
    LAST, session_id);
CREATE INDEX ix_session_stats_session_created_at ON session_stats (session_created_at DESC NULLS
    LAST, session_id);

CREATE TABLE staged_files (
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    relative_path TEXT NOT NULL,
    is_image BOOLEAN NOT NULL,
    is_known BOOLEAN DEFAULT false NOT NULL,
    source_path TEXT,
    source_size BIGINT,
    source_modified_at_ns BIGINT,
    generated_from TEXT,
    generation JSONB,
    sha256 TEXT,
    width INTEGER,
    height INTEGER,
    format TEXT,
    file_size BIGINT,
    modified_at_ns BIGINT,
    error_message TEXT,
    PRIMARY KEY (id),
    UNIQUE (project_id, relative_path),
    FOREIGN KEY (project_id) REFERENCES project_ingests (project_id) ON DELETE CASCADE
);

CREATE TABLE image_results (
    run_id UUID NOT NULL,
    image_id UUID NOT NULL,
    live_count INTEGER,
    dead_count INTEGER,
    class_counts JSONB,
    polygon_path TEXT,
    counted_classes TEXT NOT NULL,
    settings TEXT,
    error_code TEXT,
    error_msg TEXT,
    inference_ms DOUBLE PRECISION,
    computed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (run_id, image_id),
    CONSTRAINT ck_image_results_error_msg_length CHECK (char_length(error_msg) <= 500),
        CONSTRAINT ck_image_results_good_has_values CHECK (error_msg IS NOT NULL OR (live_count IS
        NOT NULL AND dead_count IS NOT NULL AND class_counts IS NOT NULL AND polygon_path IS NOT
        NULL)),
    FOREIGN KEY (run_id) REFERENCES runs (id) ON DELETE CASCADE,
    FOREIGN KEY (image_id) REFERENCES shared_images (id) ON DELETE CASCADE
);
CREATE INDEX ix_image_results_image_id ON image_results (image_id);

CREATE TABLE project_image_quality (
    project_image_id UUID NOT NULL,
    uniqueness DOUBLE PRECISION NOT NULL,
    nearest_image_id UUID,
    nearest_distance SMALLINT,
    duplicate_group INTEGER,
    overall_quality DOUBLE PRECISION NOT NULL,
    issues TEXT[] NOT NULL,
    sharpness_reference DOUBLE PRECISION NOT NULL,
    compared_hash TEXT,
    computed_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    PRIMARY KEY (project_image_id),
    FOREIGN KEY (project_image_id) REFERENCES project_images (id) ON DELETE CASCADE,
    FOREIGN KEY (nearest_image_id) REFERENCES project_images (id) ON DELETE SET NULL
);
CREATE INDEX ix_project_image_quality_nearest_image_id ON project_image_quality (nearest_image_id);

-- What people ask of the jobs of quality-metrics.
CREATE VIEW quality_jobs AS
SELECT
    id,
    subject::uuid AS project_id,
    status,
    total AS total_images,
    processed AS processed_count,
    failed AS failed_count,
    total - processed - failed AS remaining,
    CASE WHEN total = 0 AND status IN ('pending', 'processing') THEN 0.0
         WHEN total = 0 THEN 100.0
         ELSE round(100.0 * (processed + failed) / total, 2) END AS progress_pct,
    flow_run_id, error_message, result, cancel_requested,
    heartbeat_at, started_at, completed_at, created_at, updated_at
FROM jobs
WHERE kind = 'quality-metrics';

-- An image without a row of metrics is pending; it is processing while it belongs to the part of a
-- chunk that is being measured by an active job.
CREATE VIEW image_quality AS
WITH in_work AS (
    SELECT unnest(c.items[c.position + 1 : ]) AS project_image_id
    FROM job_chunks c
    JOIN jobs j ON j.id = c.job_id
    WHERE c.state = 'processing' AND j.status = 'processing' AND j.kind = 'quality-metrics'
)
SELECT
    i.id AS project_image_id,
    i.project_id,
    i.shared_image_id,
    i.relative_path,
    i.filename,
    i.split,
    i.state,
    s.sha256,
    s.width,
    s.height,
    s.format,
    s.file_size,
    COALESCE(
        m.status,
        CASE WHEN EXISTS (SELECT 1 FROM in_work w WHERE w.project_image_id = i.id)
             THEN 'processing'::measurement_status ELSE 'pending'::measurement_status END
    ) AS status,
    -- LEAST alone would take no measurement for 1.
    CASE WHEN m.sharpness_variance IS NOT NULL
         THEN LEAST(m.sharpness_variance / COALESCE(q.sharpness_reference, 500), 1.0)
    END AS sharpness,
    m.sharpness_variance,
    m.focus,
    m.brightness,
    m.contrast,
    m.red_avg,
    m.green_avg,
    m.blue_avg,
    m.perceptual_hash,
    m.difference_hash,
    m.low_information,
    m.p1, m.p5, m.p95, m.p99,
    m.clipped_black,
    m.clipped_white,
    m.entropy,
    m.mode,
    m.exif_orientation,
    m.sample_rule,
    m.sample_low,
    m.sample_high,
    q.uniqueness,
    q.nearest_image_id,
    n.relative_path AS nearest_relative_path,
    q.nearest_distance,
    q.duplicate_group,
    q.overall_quality,
    q.issues,
    q.sharpness_reference,
    m.error_code,
    m.error_message,
    m.metrics_version,
    m.pillow_version,
    m.opencv_version,
    m.computed_at
FROM project_images i
JOIN shared_images s ON s.id = i.shared_image_id
LEFT JOIN image_quality_metrics m ON m.shared_image_id = i.shared_image_id
LEFT JOIN project_image_quality q ON q.project_image_id = i.id
LEFT JOIN project_images n ON n.id = q.nearest_image_id;

-- What people look at: one row per session, statistics and folder and their own words together.
CREATE VIEW sessions AS
SELECT
    s.*,
    f.state AS folder_state,
    f.missing_since,
    f.sessions_root,
    f.relative_path,
    f.error_message,
    m.tags,
    m.flags,
    m.rating,
    m.note
FROM session_stats s
JOIN session_folders f USING (session_id)
JOIN session_metadata m USING (session_id);

-- Every sum over the results of a run; nothing else adds them up. The images of a run are those of
-- its collection that have a result, or that its newest work list still holds: what came into the
-- collection later is `later`, and belongs to the next start. A result that is to be counted again
-- (counted_classes is empty) is an image, but counts as nothing.
CREATE FUNCTION run_totals(run uuid) RETURNS TABLE (total integer, processed_count integer,
    failed_count integer, live_count integer, dead_count integer, class_counts jsonb,
    first_error text, later integer) LANGUAGE sql STABLE AS $$
WITH planned AS (
    SELECT DISTINCT unnest(c.items[c.position + 1 : ]) AS image_id
    FROM job_chunks c
    WHERE c.state <> 'completed' AND c.job_id = (
        SELECT j.id FROM jobs j
        WHERE j.kind = 'collection-inference' AND j.subject = run::text
          AND EXISTS (SELECT 1 FROM job_chunks o WHERE o.job_id = j.id)
        ORDER BY j.created_at DESC LIMIT 1)
), images AS (
    SELECT c.position, r.*, r.image_id IS NOT NULL OR p.image_id IS NOT NULL AS is_own,
           coalesce(r.counted_classes, '') <> '' AS is_counted
    FROM runs k
    JOIN collection_images c ON c.collection_id = k.collection_id
    LEFT JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id
    LEFT JOIN planned p ON p.image_id = c.shared_image_id
    WHERE k.id = run
), classes AS (
    SELECT e.key, sum(e.value::int) AS objects
    FROM images i CROSS JOIN LATERAL jsonb_each_text(i.class_counts) e
    WHERE i.is_counted GROUP BY e.key
)
SELECT count(*) FILTER (WHERE is_own)::int,
    count(*) FILTER (WHERE is_counted AND error_msg IS NULL)::int,
    count(*) FILTER (WHERE is_counted AND error_msg IS NOT NULL)::int,
    coalesce(sum(live_count) FILTER (WHERE is_counted), 0)::int,
    coalesce(sum(dead_count) FILTER (WHERE is_counted), 0)::int,
    (SELECT coalesce(jsonb_object_agg(key, objects), '{}'::jsonb) FROM classes),
    (array_agg(error_msg ORDER BY position) FILTER (WHERE error_msg IS NOT NULL))[1],
    count(*) FILTER (WHERE NOT is_own)::int
FROM images
$$;

-- Stores these sums in the row of the run, with what they say of failures. The collection is locked
-- first, so that the last of two who change the images and the results has seen both changes.
CREATE FUNCTION store_run_totals(run uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM collections c JOIN runs k ON k.collection_id = c.id WHERE k.id = run
    FOR SHARE OF c;
    UPDATE runs SET
        total = t.total,
        processed_count = t.processed_count,
        failed_count = t.failed_count,
        live_mussel_count = t.live_count,
        dead_mussel_count = t.dead_count,
        class_counts = t.class_counts,
        error_msg = coalesce(
            (SELECT j.error_message FROM jobs j
             WHERE j.kind = 'collection-inference' AND j.subject = run::text
             ORDER BY j.created_at DESC LIMIT 1),
            CASE WHEN t.failed_count > 0 THEN left(t.failed_count || ' of ' || t.total
                || ' images failed; the first: ' || t.first_error, 500) END),
        updated_at = now()
    FROM run_totals(run) t
    WHERE id = run;
END $$;

-- A run's status is that of its newest job, in the same transaction, whoever closes the job: the
-- flow, a cancellation from elsewhere, or the start after a kill. While the job works, the counts
-- of images are those of its beginning and what its chunks have done since; when it has begun and
-- when it ends, they are summed up.
CREATE FUNCTION follow_inference_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    run uuid := (SELECT id FROM runs WHERE id::text = NEW.subject);
BEGIN
    UPDATE runs SET
        status = NEW.status,
        error_msg = CASE WHEN NEW.status IN ('pending', 'processing') THEN NULL
            ELSE coalesce(NEW.error_message, error_msg) END,
        processed_count = CASE WHEN NEW.status = 'processing' AND OLD.status = 'processing'
            THEN total - NEW.total + NEW.processed ELSE processed_count END,
        failed_count = CASE WHEN NEW.status = 'processing' AND OLD.status = 'processing'
            THEN NEW.failed ELSE failed_count END,
        started_at = NEW.started_at,
        completed_at = NEW.completed_at,
        updated_at = now()
    WHERE id = run;
    IF NEW.status <> 'pending' AND OLD.status IN ('pending', 'processing')
        AND NEW.status <> OLD.status
    THEN
        PERFORM store_run_totals(run);
    END IF;
    IF NEW.status = 'processing' AND OLD.status = 'pending' THEN
        -- Its chunks are written right after this; they are all images without a good result.
        UPDATE runs SET total = processed_count + NEW.total, failed_count = 0, error_msg = NULL
        WHERE id = run;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_inference_job
AFTER INSERT OR UPDATE OF status, total, processed, failed ON jobs
FOR EACH ROW WHEN (NEW.kind = 'collection-inference') EXECUTE FUNCTION follow_inference_job();
