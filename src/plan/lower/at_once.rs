//! Rows that come within one tick: what a window answers when it closes, once. Whatever is grouped, ranked or joined by the
//! window is complete at that tick's end, so it needs no state and takes nothing back.

use super::WindowColumn;
use super::build::Builder;
use crate::plan::stream::{Changelog, Emit, NodeIndex, Op};

impl Builder {
    /// If all rows with one value of this column come within one tick, the window aggregate whose answer they are: the
    /// column tells the window. Rows of one aggregate's window come in the same tick, whichever way they went.
    pub(super) fn at_once(&self, node: NodeIndex, column: usize) -> Option<NodeIndex> {
        let index = node;
        let node = self.node(index);
        let below = node.inputs.first().map(|input| input.node);
        match (&node.op, below) {
            (Op::WindowAggregate { window, emit: Emit::OnClose, .. }, _) => {
                let starts = window.is_tumbling() && column == WindowColumn::Start.index();
                let ends = [WindowColumn::End, WindowColumn::Time].map(WindowColumn::index).contains(&column);
                (node.changelog == Changelog::AppendOnly && (starts || ends)).then_some(index)
            }
            (Op::Filter { .. }, Some(below)) => self.at_once(below, column),
            (Op::Project { exprs }, Some(below)) => {
                let name = exprs.get(column)?.as_column()?;
                self.at_once(below, self.schema(below).index_of(name).ok()?)
            }
            (Op::Aggregate { keys, at_once: true, .. }, Some(below)) => self.at_once(below, *keys.get(column)?),
            _ => None,
        }
    }
}
