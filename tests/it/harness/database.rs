use std::fs;
use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

use jeton::app;
use jeton::config::{Config, OutageMode};

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A fresh, empty database and a data directory, gone after the test (the PostgreSQL server itself is
/// thrown away after the run).
pub(crate) struct Database {
    pub(crate) engine: Engine,
    pub(crate) directory: TempDir,
    pub(crate) url: Option<String>,
}

/// A transaction that others wait for.
pub(crate) enum Held {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Held {
    /// Lets what was done in it be, and the others go on.
    pub(crate) async fn commit(mut self) {
        match &mut self {
            Self::Sqlite(connection) => drop(connection.execute("COMMIT").await.unwrap()),
            Self::Postgres(connection) => drop(connection.execute("COMMIT").await.unwrap()),
        }
        self.release().await;
    }

    pub(crate) async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

/// What migrating makes of an empty database. It takes longer than most tests, so it is made once and copied: this is
/// SQLite's file, and the name of a database on the PostgreSQL server.
static MIGRATED_SQLITE: OnceCell<Vec<u8>> = OnceCell::const_new();
static MIGRATED_POSTGRES: OnceCell<String> = OnceCell::const_new();

impl Database {
    pub(crate) async fn create(engine: Engine) -> Self {
        let url = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(create_postgres("template1").await),
        };
        Self { engine, directory: tempfile::tempdir().unwrap(), url }
    }

    /// One that is migrated already. What only servers have in it is not there.
    pub(crate) async fn create_migrated(engine: Engine) -> Self {
        let database = async || {
            let database = Self::create(engine).await;
            let store = app::connect(&database.config()).await.unwrap();
            store.migrate().await.unwrap();
            store.close().await;
            database
        };
        let directory = tempfile::tempdir().unwrap();
        match engine {
            Engine::Sqlite => {
                let file = async || fs::read(database().await.sqlite_file()).unwrap();
                let migrated = Self { engine, directory, url: None };
                fs::create_dir(migrated.directory.path().join("data")).unwrap();
                fs::write(migrated.sqlite_file(), MIGRATED_SQLITE.get_or_init(file).await).unwrap();
                migrated
            }
            Engine::Postgres => {
                let name = async || {
                    let url = url::Url::parse(&database().await.url.unwrap()).unwrap();
                    url.path().trim_start_matches('/').to_owned()
                };
                let url = create_postgres(MIGRATED_POSTGRES.get_or_init(name).await).await;
                Self { engine, directory, url: Some(url) }
            }
        }
    }

    /// The environment that points `jeton` at this database.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let data_dir = self.directory.path().join("data");
        let mut environment = vec![
            ("JETON_DATA_DIR".to_owned(), data_dir.display().to_string()),
            // Six tests at a time, in memory.
            ("JETON_OUTAGE__MAX_SIZE".to_owned(), "16MiB".to_owned()),
        ];
        if let Some(url) = &self.url {
            environment.push(("JETON_DATABASE_URL".to_owned(), url.clone()));
            // The same for every process of the test, as for the replicas of an installation.
            environment.push(("JETON_MASTER_KEY".to_owned(), "07".repeat(32)));
        }
        environment
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::load(None, self.environment()).unwrap();
        // Most tests break the database to see that nothing is said then; those of the outage mode switch it on.
        config.outage.mode = OutageMode::Refuse;
        config
    }

    /// Runs SQL behind the server's back.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.url {
            Some(url) => drop(PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap()),
            None => drop(self.sqlite().await.execute(sql).await.unwrap()),
        }
    }

    /// Takes the audit's table for itself, so that whoever writes to it waits.
    pub(crate) async fn hold_events(&self) -> Held {
        match self.engine {
            Engine::Sqlite => self.hold("").await,
            Engine::Postgres => self.hold("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE").await,
        }
    }

    /// Runs SQL behind the server's back in a transaction that stays open: whoever writes to the same rows waits, on
    /// SQLite whoever writes.
    pub(crate) async fn hold(&self, sql: &str) -> Held {
        let sql = AssertSqlSafe(sql.to_owned());
        if let Some(url) = &self.url {
            let mut connection = PgConnection::connect(url).await.unwrap();
            connection.execute("BEGIN").await.unwrap();
            connection.execute(sql).await.unwrap();
            return Held::Postgres(connection);
        }
        let mut connection = self.sqlite().await;
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        connection.execute(sql).await.unwrap();
        Held::Sqlite(connection)
    }

    /// Lets the engine refuse new rows of a table that fit a condition on `NEW`, until [`Database::take_rows`].
    pub(crate) async fn refuse_rows(&self, table: &str, condition: &str) {
        let trigger = match self.engine {
            Engine::Sqlite => format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN {condition}
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ),
            Engine::Postgres => format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN RAISE 'refused'; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON {table}
                     FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
            ),
        };
        self.execute(&trigger).await;
    }

    pub(crate) async fn take_rows(&self, table: &str) {
        match self.engine {
            Engine::Sqlite => self.execute("DROP TRIGGER refuse").await,
            Engine::Postgres => self.execute(&format!("DROP TRIGGER refuse ON {table}")).await,
        }
    }

    /// Lets the engine prepare a statement.
    pub(crate) async fn prepare(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        if let Some(url) = &self.url {
            return PgConnection::connect(url).await?.prepare(sql.into_sql_str()).await.map(drop);
        }
        self.sqlite().await.prepare(sql.into_sql_str()).await.map(drop)
    }

    /// The texts in the first column of a query's rows.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.url {
            Some(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
            None => sqlx::query_scalar(sql).fetch_all(&mut self.sqlite().await).await.unwrap(),
        }
    }

    /// Every row of every table as text, for looking what is in it.
    pub(crate) async fn dump(&self) -> String {
        let tables = match self.engine {
            Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'",
            Engine::Postgres => {
                "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'"
            }
        };
        let mut dump = String::new();
        for table in self.texts(tables).await {
            let rows = match self.engine {
                Engine::Postgres => self.texts(&format!("SELECT t::text FROM {table} t")).await,
                Engine::Sqlite => {
                    let columns = self.texts(&format!("SELECT name FROM pragma_table_info('{table}')")).await;
                    let columns: Vec<_> = columns.iter().map(|name| format!("quote({name})")).collect();
                    self.texts(&format!("SELECT {} FROM {table}", columns.join(" || ' ' || "))).await
                }
            };
            dump.push_str(&rows.join("\n"));
        }
        dump
    }

    fn sqlite_file(&self) -> PathBuf {
        self.directory.path().join("data/jeton.db")
    }

    async fn sqlite(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}", self.sqlite_file().display())).await.unwrap()
    }
}

/// A copy of a database that nobody is connected to.
async fn create_postgres(template: &str) -> String {
    let server = std::env::var("JETON_TEST_POSTGRES_URL")
        .expect("JETON_TEST_POSTGRES_URL is not set: run scripts/test, or scripts/with-postgres cargo test");
    let name = format!("jeton_{}", Uuid::from_u128(rand::random()).simple());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    url.into()
}
