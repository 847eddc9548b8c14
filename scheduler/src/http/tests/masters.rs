//! `/tepui/v1/masters`, and the header with the list of masters.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyper::Method;
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::tepui::masters::News;
use tepui_proto::wire;

use super::fixture::Fixture;
use crate::runtime::masters::Told;

const PATH: &str = "/tepui/v1/masters";
const PATIENCE: Duration = Duration::from_secs(20);

fn leading(epoch: u64) -> News {
    News {
        leader: Some("a:1".to_owned()),
        serving: Some(true),
        epoch: Some(epoch),
        masters: vec!["a:1".to_owned(), "b:2".to_owned()],
        ..News::default()
    }
}

fn tell(fixture: &Fixture, news: News) {
    fixture.masters.send_replace(Arc::new(Told::new(news)));
}

#[tokio::test]
async fn what_is_known_comes_at_once_and_changes_follow_in_either_encoding() {
    for media in [MediaType::Json, MediaType::Protobuf] {
        let fixture = Fixture::standby(None);
        let response = fixture.send(Method::GET, PATH, &[("accept", media.as_str())], "").await;
        assert_eq!(response.headers()["content-type"], media.as_str());
        let mut body = response.into_body().into_data_stream();
        let mut decoder = Decoder::new(1 << 20);
        let nothing = News { serving: Some(false), ..News::default() };
        for expected in [nothing, leading(3), leading(4)] {
            let chunk = tokio::time::timeout(PATIENCE, body.next()).await.unwrap().unwrap().unwrap();
            decoder.push(&chunk);
            let record = decoder.next_record().unwrap().unwrap();
            assert_eq!(wire::decode::<News>(media, &record).unwrap(), expected);
            tell(&fixture, leading(expected.epoch.map_or(3, |epoch| epoch + 1)));
        }
        fixture.stop.cancel();
        assert!(body.next().await.is_none(), "a master that stops ends the stream");
    }
}

#[tokio::test]
async fn those_who_listen_are_counted_and_others_are_told_how_to_ask() {
    let fixture = Fixture::standby(None);
    let one = fixture.get(PATH).await;
    let other = fixture.get(PATH).await;
    assert_eq!((one.status(), other.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));
    assert_eq!(fixture.get(PATH).await.status(), 503);
    drop(one);
    assert_eq!(fixture.get(PATH).await.status(), 200);
    assert_eq!(fixture.post_json(PATH, "{}").await.status(), 405);
}

#[tokio::test]
async fn a_leading_master_names_all_masters_in_a_header() {
    let fixture = Fixture::standby(None);
    assert!(fixture.get("/redirect").await.headers().get("tepui-masters").is_none());
    tell(&fixture, leading(3));
    assert_eq!(fixture.get("/redirect").await.headers()["tepui-masters"], "a:1,b:2");
    assert!(fixture.get("/health").await.headers().get("tepui-masters").is_none());
}
