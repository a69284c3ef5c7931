//! A PostgreSQL database of its own for each test, in the throwaway cluster of `cargo xtask test`.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::variable;

/// Looks at the database's locks before a test gives up: each is a round trip, and a statement that is under way waits
/// within a few.
const LOOKS_MAX: usize = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes an empty database and returns its URL. It goes with the cluster.
pub(crate) async fn database() -> String {
    let cluster = variable("INTAIL_TEST_POSTGRES_URL");
    // Tests may be processes or threads: the process id and the number together are unique.
    let name = format!("t_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&cluster).await.expect("the cluster of cargo xtask answers");
    // A name made of letters and digits: nothing to escape, and CREATE DATABASE takes no parameters.
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("the database is made");
    connection.close().await.expect("the connection closes");
    let (server, _) = cluster.rsplit_once('/').expect("the cluster's URL names a database");
    format!("{server}/{name}")
}

/// Returns once so many transactions of this database wait for rows that others hold.
pub(crate) async fn until_so_many_wait(watching: &mut PgConnection, many: i64) {
    for _ in 0..LOOKS_MAX {
        let (waiting,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut *watching)
        .await
        .expect("read");
        if waiting >= many {
            return;
        }
    }
    panic!("nobody waits");
}

#[tokio::test]
async fn each_call_makes_another_empty_database() {
    let (first, second) = (database().await, database().await);
    assert_ne!(first, second);
    let mut connection = PgConnection::connect(&first).await.unwrap();
    let tables: (i64,) = sqlx::query_as("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(tables.0, 0);
}
