//! Any request and any answer: which body belongs to which operation and status.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::fields::{Direction, Fields};
use super::reader::{DecodeError, EncodeError, Reader};
use super::{
    ANSWER, Batch, BatchAnswer, Bind, Bound, Call, Challenge, Decision, Goaway, Hello, Operation, Pong,
    Proof, Receipt, Reserve, Settle, Standing, Stats, Status, Welcome,
};

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// HELLO.
    Hello(Hello<'a>),
    /// PROOF.
    Proof(Proof),
    /// PING.
    Ping,
    /// STATS.
    Stats,
    /// GOAWAY, which a client must not send.
    Goaway,
    /// AUTHORIZE.
    Authorize(Call<'a>),
    /// AUTHREP.
    Authrep(Call<'a>),
    /// REPORT.
    Report(Call<'a>),
    /// CHECK.
    Check(Call<'a>),
    /// BIND.
    Bind(Bind<'a>),
    /// BATCH.
    Batch(Batch<'a>),
    /// RESERVE.
    Reserve(Reserve<'a>),
    /// COMMIT.
    Commit(Settle<'a>),
    /// CANCEL.
    Cancel(Settle<'a>),
    /// QUERY.
    Query(Call<'a>),
}

impl<'a> Request<'a> {
    /// Takes the body of a request apart.
    pub fn decode(operation: u8, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        let known = Operation::from_number(operation).ok_or(DecodeError::UnknownOperation(operation))?;
        Ok(match known {
            Operation::Hello => Request::Hello(Hello::decode(body)?),
            Operation::Proof => Request::Proof(Proof::decode(body)?),
            Operation::Ping => Request::Ping,
            Operation::Stats => Request::Stats,
            Operation::Goaway => Request::Goaway,
            Operation::Authorize => Request::Authorize(Call::decode(body)?),
            Operation::Authrep => Request::Authrep(Call::decode(body)?),
            Operation::Report => Request::Report(Call::decode(body)?),
            Operation::Check => Request::Check(Call::decode(body)?),
            Operation::Bind => Request::Bind(Bind::decode(body)?),
            Operation::Batch => Request::Batch(Batch::decode(body)?),
            Operation::Reserve => Request::Reserve(Reserve::decode(body)?),
            Operation::Commit => Request::Commit(Settle::decode(body)?),
            Operation::Cancel => Request::Cancel(Settle::decode(body)?),
            Operation::Query => Request::Query(Call::decode(body)?),
        })
    }

    /// Its operation.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Request::Hello(_) => Operation::Hello,
            Request::Proof(_) => Operation::Proof,
            Request::Ping => Operation::Ping,
            Request::Stats => Operation::Stats,
            Request::Goaway => Operation::Goaway,
            Request::Authorize(_) => Operation::Authorize,
            Request::Authrep(_) => Operation::Authrep,
            Request::Report(_) => Operation::Report,
            Request::Check(_) => Operation::Check,
            Request::Bind(_) => Operation::Bind,
            Request::Batch(_) => Operation::Batch,
            Request::Reserve(_) => Operation::Reserve,
            Request::Commit(_) => Operation::Commit,
            Request::Cancel(_) => Operation::Cancel,
            Request::Query(_) => Operation::Query,
        }
    }

    /// Appends its body.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Request::Hello(hello) => hello.encode(out),
            Request::Proof(proof) => {
                proof.encode(out);
                Ok(())
            }
            Request::Ping | Request::Stats | Request::Goaway => Ok(()),
            Request::Authorize(call) | Request::Authrep(call) => call.encode(out),
            Request::Report(call) | Request::Check(call) | Request::Query(call) => call.encode(out),
            Request::Bind(bind) => bind.encode(out),
            Request::Batch(batch) => batch.encode(out),
            Request::Reserve(reserve) => reserve.encode(out),
            Request::Commit(settle) | Request::Cancel(settle) => settle.encode(out),
        }
    }
}

/// What a request with a status of class 1 to 4 is answered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}{}", message.as_deref().map(|message| format!(": {message}")).unwrap_or_default())]
pub struct Refusal {
    /// Why.
    pub status: Status,
    /// Milliseconds after which the request may be sent again; 0 if that says nothing.
    pub retry_after_ms: u32,
    /// A sentence for people. Never in a BATCH.
    pub message: Option<String>,
}

impl Refusal {
    const LEN: u16 = 8;

    /// After which time the same request may be sent again, if the node says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after_ms != 0).then(|| Duration::from_millis(self.retry_after_ms.into()))
    }

    fn decode(status: Status, body: &[u8]) -> Result<Refusal, DecodeError> {
        let (mut fixed, rest) = Reader::with_fixed(body, Self::LEN.into())?;
        fixed.skip(2)?;
        let message = Fields::decode(rest, Direction::Answer)?.message.map(str::to_owned);
        Ok(Refusal { status, retry_after_ms: fixed.u32()?, message })
    }

    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le(Self::LEN);
        out.put_u16_le(0);
        out.put_u32_le(self.retry_after_ms);
        Fields { message: self.message.as_deref(), ..Fields::default() }.encode(out)
    }
}

/// What the node answers, or says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To any request: refused.
    Refused(Refusal),
    /// To HELLO: prove who you are.
    Challenge(Challenge),
    /// To HELLO or PROOF: the connection is open.
    Welcome(Box<Welcome<'a>>),
    /// To PING.
    Pong(Pong),
    /// To STATS.
    Stats(Stats),
    /// Not asked for: the connection will be closed.
    Goaway(Goaway),
    /// To AUTHORIZE, AUTHREP, CHECK and RESERVE.
    Decision(Decision),
    /// To REPORT, COMMIT and CANCEL.
    Receipt(Receipt),
    /// To BIND.
    Bound(Bound),
    /// To BATCH.
    Batch(BatchAnswer<'a>),
    /// To QUERY.
    Standing(Standing),
}

impl<'a> Answer<'a> {
    /// Takes the body of an answer apart. `operation` is the answer's, with its highest bit set.
    pub fn decode(operation: u8, status: Status, body: &'a [u8]) -> Result<Answer<'a>, DecodeError> {
        if !status.is_done() {
            return Ok(Answer::Refused(Refusal::decode(status, body)?));
        }
        let unknown = DecodeError::UnknownOperation(operation);
        let asked = operation.checked_sub(ANSWER).and_then(Operation::from_number).ok_or(unknown)?;
        Ok(match asked {
            Operation::Hello if status == Status::CHALLENGE => Answer::Challenge(Challenge::decode(body)?),
            Operation::Hello | Operation::Proof => Answer::Welcome(Box::new(Welcome::decode(body)?)),
            Operation::Ping => Answer::Pong(Pong::decode(body)?),
            Operation::Stats => Answer::Stats(Stats::decode(body)?),
            Operation::Goaway => Answer::Goaway(Goaway::decode(body)?),
            Operation::Authorize | Operation::Authrep | Operation::Check | Operation::Reserve => {
                Answer::Decision(Decision::decode(body)?)
            }
            Operation::Report | Operation::Commit | Operation::Cancel => {
                Answer::Receipt(Receipt::decode(body)?)
            }
            Operation::Bind => Answer::Bound(Bound::decode(body)?),
            Operation::Batch => Answer::Batch(BatchAnswer::decode(body)?),
            Operation::Query => Answer::Standing(Standing::decode(body)?),
        })
    }

    /// Appends its body.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Answer::Refused(refusal) => refusal.encode(out),
            Answer::Welcome(welcome) => welcome.encode(out),
            Answer::Goaway(goaway) => goaway.encode(out),
            Answer::Decision(decision) => decision.encode(out),
            Answer::Bound(bound) => bound.encode(out),
            Answer::Batch(batch) => batch.encode(out),
            Answer::Standing(standing) => standing.encode(out),
            Answer::Challenge(challenge) => {
                challenge.encode(out);
                Ok(())
            }
            Answer::Pong(pong) => {
                pong.encode(out);
                Ok(())
            }
            Answer::Stats(stats) => {
                stats.encode(out);
                Ok(())
            }
            Answer::Receipt(receipt) => {
                receipt.encode(out);
                Ok(())
            }
        }
    }
}
