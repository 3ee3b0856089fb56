//! stub
pub mod counter { pub mod snapshot; }
pub mod model;
