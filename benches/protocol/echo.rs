//! The floor: a server that shakes hands like a node, and answers each frame with as many bytes as a node would.
//!
//! The same runtime with as many workers, a task for each connection; it reads what is there, answers all of it, writes
//! once. It looks at each frame's head, and at the number of items of a batch. It decides nothing.

use std::io::{self, Read, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::wire::{
    BatchAnswer, Decision, FRAME_MAX_GREATEST, Frame, HEADER_LEN, Header, Items, OPENING, Operation, Status,
    VERSION, Welcome, split,
};

/// Serves on a port of the system's choice, which it prints, until standard input ends.
pub(super) fn serve() {
    let runtime = tollgate::node::runtime().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        io::stdout().flush().unwrap();
        std::thread::spawn(|| {
            // The parent holds the other end.
            let _ = io::stdin().read(&mut [0; 1]);
            std::process::exit(0);
        });
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            // A client that goes away is none of our business.
            tokio::spawn(async move { drop(converse(stream).await) });
        }
    });
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut received = vec![0; 64 << 10];
    let (mut begin, mut end) = (0, 0);
    let mut out = Vec::new();
    let mut opening = [0; OPENING.len()];
    stream.read_exact(&mut opening).await?;
    loop {
        while let Ok(Some((header, body))) = split(&received[begin..end], FRAME_MAX_GREATEST) {
            begin += HEADER_LEN + body.len();
            answer(&mut out, &header, body);
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        received.copy_within(begin..end, 0);
        (begin, end) = (0, end - begin);
        if end == received.len() {
            received.resize(end * 2, 0);
        }
        match stream.read(&mut received[end..]).await? {
            0 => return Ok(()),
            count => end += count,
        }
    }
}

fn answer(out: &mut Vec<u8>, header: &Header, body: &[u8]) {
    let yes = Decision { yes: true, ..Decision::default() };
    let mut frame = Frame::answer(out, header.operation, Status::OK, header.id);
    match header.operation {
        Operation::HELLO => welcome().put(frame.body()),
        Operation::BATCH => {
            let count = Items::read(body).map_or(0, |items| items.len());
            let mut answer = BatchAnswer::begin(frame.body());
            (0..count).for_each(|_| answer.item(Operation::AUTHREP, Status::OK, |out| yes.put(out)));
            answer.end(true);
        }
        _ => yes.put(frame.body()),
    }
    frame.end();
}

fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        frame_max: FRAME_MAX_GREATEST,
        window: 65_536,
        idle_ms: 0,
        features: 0,
        session: 1,
        node: 1,
        time_us: 0,
        catalog_version: 0,
        proof: [0; 32],
        name: "echo".to_owned(),
    }
}
