//! A gateway as small as it can be: takes HTTP requests, asks a node about each, and answers 200, 403 or 429.
//!
//! ```text
//! TOLLGATE=127.0.0.1:3001 SERVICE=7 TOKEN=... cargo run --example gateway
//! curl -i 'http://127.0.0.1:8080/anything?user_key=...'
//! ```
//!
//! What a real one would have instead: an HTTP server, and something behind it. What is here to be looked at is
//! [`answer`]: one call, three outcomes, and what it says when the node is away.
#![allow(clippy::print_stdout, reason = "it talks to who started it")]

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tollgate_client::{
    Access, Address, Application, Call, Client, Error, Options, Policy, Reason, Share, Status, Verdict,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let access = Access::ServiceToken { service: variable("SERVICE")?, token: variable("TOKEN")? };
    // A request is worth a quarter of a second. While the node is away callers get a tenth of what they are used to.
    let options = Options::default()
        .deadline(Duration::from_millis(250))
        .policy(Policy::LocalShare { unstated: false })
        .name("gateway example");
    let client = Client::new(Address::Tcp(variable("TOLLGATE")?), access, options)?;
    let session = client.ready(Duration::from_secs(10)).await?;
    println!("asking {} (session {})", session.software, session.number);

    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, client).await {
                println!("a connection ended: {error}");
            }
        });
    }
}

/// Answers the requests of a connection, one after the other.
async fn serve(stream: TcpStream, client: Client) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(request) = lines.next_line().await? {
        while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
        let key = request.split_once("user_key=").map(|(_, rest)| rest);
        let key = key.and_then(|rest| rest.split(['&', ' ']).next()).unwrap_or_default();
        let answer = answer(&client, key).await;
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// What the caller with this key gets to see.
async fn answer(client: &Client, key: &str) -> String {
    let share = Share::new("hits", 100, Duration::from_secs(60), 0.1);
    let application = Application::user_key(key).share(share);
    match client.authrep(&Call::new(&application).usage("hits", 1)).await {
        Ok(verdict) if verdict.allowed() => {
            response("200 OK", &limit_headers(&verdict), "what lies behind the gateway\n")
        }
        Ok(Verdict::Decided(decision)) => match decision.reason {
            Some(Reason::LimitsExceeded) => {
                let wait_s = decision.retry_after().map_or(60, |wait| wait.as_secs() + 1);
                response("429 Too Many Requests", &format!("Retry-After: {wait_s}\r\n"), "limit exceeded\n")
            }
            reason => response("403 Forbidden", "", reason.map_or("denied", Reason::code)),
        },
        Ok(Verdict::Assumed { .. }) => response("429 Too Many Requests", "Retry-After: 1\r\n", "try later\n"),
        Err(Error::Refused(refusal)) if refusal.status == Status::USER_KEY_INVALID => {
            response("403 Forbidden", "", "no such key\n")
        }
        Err(error) => response("500 Internal Server Error", "", &format!("{error}\n")),
    }
}

/// What the node says about the limit that will be the first to deny.
fn limit_headers(verdict: &Verdict) -> String {
    let Some(decision) = verdict.decision() else { return String::new() };
    let Some(limit) = decision.limit else { return String::new() };
    format!("RateLimit-Limit: {}\r\nRateLimit-Remaining: {}\r\n", limit.maximum, decision.remaining)
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}
