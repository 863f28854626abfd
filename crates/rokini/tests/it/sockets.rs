//! The consumer over sockets, against the local Kinesis: streams that fall silent, and random reshards.

mod local;
mod reshards;
mod silence;
