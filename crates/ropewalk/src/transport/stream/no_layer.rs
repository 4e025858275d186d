//! What stands for the layer where the crate is built without one: there is none, ever.

use std::io;
use std::rc::Rc;

use ropewalk_os::Token;
use ropewalk_proto::StreamState;

use super::Stream;
use crate::error::Disconnect;
use crate::reactor::core::Core;

pub(super) enum Layer {}

impl Layer {
    pub(super) fn reads(&self, _: StreamState) -> bool {
        match *self {}
    }

    pub(super) fn has_pending(&self) -> bool {
        match *self {}
    }

    pub(super) fn unsent_len(&self) -> usize {
        match *self {}
    }

    pub(super) fn is_drained(&self, _: StreamState) -> bool {
        match *self {}
    }

    pub(super) fn close_sent(&self) -> bool {
        match *self {}
    }

    pub(super) fn failure(&self) -> Option<Disconnect> {
        match *self {}
    }

    pub(super) fn drop_unsent(&self) {
        match *self {}
    }

    pub(super) fn stop_timer(&self, _: &Core) {
        match *self {}
    }
}

impl Stream {
    pub(super) fn read_secured(&self, _: &Rc<Core>, _: Token, layer: &Layer) -> bool {
        match *layer {}
    }

    pub(super) fn send_secured(&self, _: &Core, _: Token, layer: &Layer) -> io::Result<()> {
        match *layer {}
    }

    pub(super) fn closes_by_abort(&self) -> bool {
        false
    }
}
