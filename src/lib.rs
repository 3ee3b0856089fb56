//! stub
pub mod counter;
pub mod engine;
pub mod journal;
pub mod model;
