//! Statements that are planned when they are parsed.

use super::*;

#[tokio::test]
async fn ctrl_c_ends_a_statement_that_is_being_planned() {
    let server = server().await;
    let client = server.connect().await;
    let cancel = client.cancel_token();
    let asked = async {
        eventually("the planning", || server.seen.hanging.load(Ordering::SeqCst)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    };
    let (ended, ()) = tokio::join!(client.prepare("HANG IN PARSE"), asked);
    assert_eq!(code(&ended.unwrap_err()), &Code::QUERY_CANCELED);
    assert_eq!(client.query_one("SELECT 7", &[]).await.unwrap().get::<_, i64>(0), 7);
}
