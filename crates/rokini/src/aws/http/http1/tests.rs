use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn request(method: Method) -> Parts {
    let request = http::Request::builder().method(method).uri("/").header("host", "h");
    request.body(()).unwrap().into_parts().0
}

/// What a call comes to whose answer arrives in pieces of this size, and whether another call can follow.
async fn answer_in(
    pieces: usize,
    answer: &[u8],
    closes: bool,
) -> Result<(u16, Result<Bytes, String>, bool), String> {
    let (client, mut server) = duplex(1 << 20);
    let mut http = Http1::new(Box::new(client), Arc::default());
    let answer = answer.to_vec();
    let serve = async move {
        for piece in answer.chunks(pieces) {
            server.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        if closes { None } else { Some(server) }
    };
    let (parts, body) = (request(Method::POST), Bytes::from_static(b"asked"));
    let (answered, server) = tokio::join!(http.call(&parts, &body, || {}), serve);
    let answered = answered.map_err(|refused| refused.error.to_string())?;
    let reusable = http.is_reusable();
    assert_eq!(http.is_usable(), reusable && server.is_some());
    let (head, body) = answered.into_parts();
    Ok((head.status.as_u16(), body.map_err(|error| error.to_string()), reusable))
}

const WHOLE: [(&str, &str, bool); 7] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello", "hello", true),
    (
        "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
        "hello0123456789",
        true,
    ),
    ("HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 5\r\n\r\nhello", "hello", false),
    ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false),
    ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true),
];

#[tokio::test]
async fn a_body_is_as_long_as_its_head_says_however_it_arrives() {
    for (answer, expected, reusable) in WHOLE {
        for pieces in 1..=answer.len() {
            let (status, body, again) = answer_in(pieces, answer.as_bytes(), false).await.unwrap();
            assert!((200..=204).contains(&status), "{answer:?}");
            assert_eq!(
                (body.as_deref(), again),
                (Ok(expected.as_bytes()), reusable),
                "{answer:?} by {pieces}"
            );
        }
    }
}

#[tokio::test]
async fn no_beginning_of_an_answer_is_taken_for_all_of_it() {
    for (answer, ..) in WHOLE {
        for cut in 0..answer.len() {
            if let Ok((_, body, again)) = answer_in(7, &answer.as_bytes()[..cut], true).await {
                assert!(body.is_err() && !again, "{answer:?} cut off after {cut}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert_eq!(answer_in(3, answer, true).await, Ok((200, Ok(Bytes::from_static(b"hello")), false)));
}

#[tokio::test]
async fn what_may_mean_two_things_is_no_answer() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "no length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "no length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "two lengths",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "switches protocols"),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "invalid HTTP version"),
    ] {
        let error = answer_in(9, answer.as_bytes(), false).await.unwrap_err();
        assert!(error.contains(expected), "{answer:?}: {error}");
    }
    let error = answer_in(1 << 16, &vec![b'\n'; 100_000], false).await.unwrap_err();
    assert!(error.contains("without an end"), "{error}");
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
            "longer than it says",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "no length of a chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "larger than 64 MiB"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "larger than 64 MiB"),
    ] {
        let (_, body, again) = answer_in(9, answer.as_bytes(), false).await.unwrap();
        assert!(!again && body.unwrap_err().contains(expected), "{answer:?}");
    }
}

#[tokio::test]
async fn what_comes_unasked_ends_the_connection() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n";
    let (_, body, again) = answer_in(answer.len(), answer, false).await.unwrap();
    assert_eq!((body.as_deref(), again), (Ok(&b"hello"[..]), false));
}

/// Reads a request to the end of its head.
async fn read_head(server: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(server.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_server_may_refuse_a_body_that_it_does_not_read() {
    let (client, mut server) = duplex(4_096);
    let mut http = Http1::new(Box::new(client), Arc::default());
    let (parts, body) = (request(Method::PUT), Bytes::from(vec![b'x'; 1 << 20]));
    let serve = async {
        let head = read_head(&mut server).await;
        server.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        head
    };
    let (answered, head) = tokio::join!(http.call(&parts, &body, || {}), serve);
    assert_eq!(head, "PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 1048576\r\n\r\n");
    let answered = answered.ok().unwrap();
    assert_eq!((answered.status().as_u16(), answered.body().as_deref().ok()), (413, Some(&b"no"[..])));
    assert!(!http.is_reusable());
}

#[tokio::test]
async fn what_did_not_go_out_is_no_part_of_the_next_call() {
    // Small enough to go out with the head, but not all at once.
    let (client, mut server) = duplex(512);
    let mut http = Http1::new(Box::new(client), Arc::default());
    let (parts, body) = (request(Method::POST), Bytes::from(vec![b'x'; SMALL]));
    let serve = async {
        read_head(&mut server).await;
        server.write_all(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    };
    let (answered, ()) = tokio::join!(http.call(&parts, &body, || {}), serve);
    assert_eq!(answered.ok().unwrap().status().as_u16(), 429);
    assert!(!http.is_reusable());
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_after_news_that_is_no_answer() {
    for news in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\nA: b\r\n\r\n", "HTTP/1.1 2"] {
        let (client, mut server) = duplex(4_096);
        let mut http = Http1::new(Box::new(client), Arc::default());
        let (parts, body) = (request(Method::POST), Bytes::from(vec![b'x'; 1 << 20]));
        let serve = async {
            read_head(&mut server).await;
            server.write_all(news.as_bytes()).await.unwrap();
            let mut received = vec![0; 1 << 20];
            server.read_exact(&mut received).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            let begun = if news.ends_with("\r\n\r\n") { 0 } else { news.len() };
            server.write_all(&answer.as_bytes()[begun..]).await.unwrap();
        };
        let both = async { tokio::join!(http.call(&parts, &body, || {}), serve) };
        let (answered, ()) = tokio::time::timeout(Duration::from_secs(5), both).await.expect("an answer");
        assert_eq!(answered.ok().unwrap().into_body().unwrap(), "ok", "{news:?}");
        assert!(http.is_reusable());
    }
}

#[tokio::test]
async fn lines_without_end_are_no_answer() {
    let news = "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000);
    let error = answer_in(1 << 10, news.as_bytes(), false).await.unwrap_err();
    assert!(error.contains("a head without an end"), "{error}");
    let trailers = "T: x\r\n".repeat(99) + &format!("U: {}", "x".repeat(1 << 20));
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}");
    let (_, body, again) = answer_in(1 << 10, answer.as_bytes(), false).await.unwrap();
    assert!(!again && body.unwrap_err().contains("a line without an end"));
    let many = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
        "T: x\r\n".repeat(10_000)
    );
    let (_, body, again) = answer_in(1 << 10, many.as_bytes(), false).await.unwrap();
    assert!(!again && body.unwrap_err().contains("no end of the chunks"));
}

#[tokio::test]
async fn a_large_body_arrives_whole_and_one_call_follows_the_other() {
    let (client, mut server) = duplex(4_096);
    let mut http = Http1::new(Box::new(client), Arc::default());
    let parts = request(Method::POST);
    for length in [0, 1, SMALL, SMALL + 1, 1 << 20] {
        let body: Bytes = (0..length).map(|at| at as u8).collect();
        let serve = async {
            let head = read_head(&mut server).await;
            assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
            let mut received = vec![0; length];
            server.read_exact(&mut received).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            server.write_all(answer.as_bytes()).await.unwrap();
            server.write_all(&received).await.unwrap();
        };
        assert!(http.is_usable());
        let (answered, ()) = tokio::join!(http.call(&parts, &body, || {}), serve);
        assert_eq!(answered.ok().unwrap().into_body().unwrap(), body);
    }
}

#[tokio::test]
async fn a_request_that_was_not_begun_can_go_out_elsewhere() {
    let (client, server) = duplex(4_096);
    let mut http = Http1::new(Box::new(client), Arc::default());
    drop(server);
    assert!(!http.is_usable());
    let refused = http.call(&request(Method::POST), &Bytes::from_static(b"x"), || {}).await.err().unwrap();
    assert!(refused.unsent);
    // Nor does it wait for an answer where only sending is over.
    let (open, _server) = duplex(4_096);
    let (closed, server) = duplex(4_096);
    drop(server);
    let mut http = Http1::new(Box::new(tokio::io::join(open, closed)), Arc::default());
    let refused = http.call(&request(Method::POST), &Bytes::from_static(b"x"), || {}).await.err().unwrap();
    assert!(refused.unsent);
    // Of one that went out nobody knows what became of it.
    let (client, mut server) = duplex(4_096);
    let mut http = Http1::new(Box::new(client), Arc::default());
    let (parts, body) = (request(Method::POST), Bytes::new());
    let serve = async {
        read_head(&mut server).await;
        drop(server);
    };
    let (refused, ()) = tokio::join!(http.call(&parts, &body, || {}), serve);
    assert!(!refused.err().unwrap().unsent);
}

proptest! {
    /// Whatever a server says: no panic, and no body beyond its limits.
    #[test]
    fn any_bytes_are_an_answer_or_an_error(
        which in 0..WHOLE.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        random: Vec<u8>,
        cut: prop::sample::Index,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut answer = WHOLE[which].0.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(answer.len());
            answer[at] = byte;
        }
        answer.truncate(cut.index(answer.len() + 1));
        answer.extend(random);
        let _ = runtime.block_on(answer_in(5, &answer, true));
    }
}
