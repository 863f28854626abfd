//! The consumer over sockets, against the local Kinesis: streams that fall silent, connections that fail, and random
//! reshards.

mod aggregates;
mod failing;
mod fan_out;
mod garbled;
mod local;
mod memory;
mod reshards;
mod silence;
