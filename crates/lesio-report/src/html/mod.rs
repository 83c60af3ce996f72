//! One page that needs nothing else.

mod figure;
mod page;

pub use figure::Figure;
pub use page::HtmlReport;
