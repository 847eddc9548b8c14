//! What is answered to who wants a copy of the state, when there is none to be had.

use hyper::{Method, StatusCode};

use super::fixture::{Fixture, text};

#[tokio::test]
async fn only_get_and_only_so_many_at_once() {
    for fixture in [Fixture::leading(), Fixture::standby(Some("b:1")), Fixture::standby(None)] {
        let answer = fixture.send(Method::POST, "/tepui/v1/backup", &[], "").await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        // This replica has no files: every master answers for itself, and nobody is sent elsewhere.
        let answer = fixture.get("/tepui/v1/backup").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(answer).await.contains("keeps nothing on disk"));
        let held = fixture.backups.try_acquire_many(2).unwrap();
        let answer = fixture.get("/tepui/v1/backup").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(answer).await.contains("2 backups are being taken here already"));
        drop(held);
    }
}
