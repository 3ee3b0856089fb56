//! stub
pub mod counter;
pub mod model;
