//! What the two XML files have in common.

use roxmltree::{Document, Error, Node, ParsingOptions};

use super::{DatasourceError, Location};

/// How many nodes a file may have.
const MOST_NODES: u32 = 100_000;

/// A file that is open.
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) document: Document<'a>,
}

impl<'a> File<'a> {
    pub(super) fn open(name: &'a str, text: &'a str) -> Result<Self, DatasourceError> {
        // a byte order mark is no part of XML's text
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
        match Document::parse_with_options(text, options) {
            Ok(document) => Ok(Self { name, document }),
            Err(error) => Err(refused(name, &error)),
        }
    }

    pub(super) fn at(&self, node: Node<'_, '_>) -> Location {
        let row = self.document.text_pos_at(node.range().start).row;
        Location { file: self.name.to_owned(), line: usize::try_from(row).unwrap_or(usize::MAX) }
    }

    pub(super) fn error(&self, node: Node<'_, '_>, key: &str, what: impl Into<String>) -> DatasourceError {
        DatasourceError::new(self.name, self.at(node).line, key, what)
    }
}

fn refused(name: &str, error: &Error) -> DatasourceError {
    let line = usize::try_from(error.pos().row).unwrap_or(usize::MAX);
    let what = match error {
        Error::MalformedEntityReference(_) | Error::UnknownEntityReference(..) => {
            "a bare & is no XML: write `&amp;` for each & of a URL".to_owned()
        }
        Error::UnknownNamespace(prefix, _) if prefix == "svns" => {
            "the prefix svns is not declared: add xmlns:svns=\"http://org.wso2.securevault/configuration\" to the root element"
                .to_owned()
        }
        Error::DtdDetected => "a DOCTYPE is not read: remove it".to_owned(),
        Error::NodesLimitReached => format!("the file has more than {MOST_NODES} nodes: is it the right file?"),
        // other messages may quote text, and text may be a password
        _ => format!("this is no well-formed XML at column {}: compare it with the file that the product ships", error.pos().col),
    };
    DatasourceError::new(name, line, "", what)
}

/// The first child element of a name, in any namespace.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    elements(node).find(|child| child.tag_name().name() == name)
}

/// The child elements.
pub(super) fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// The text of an element, without white space around it; comments inside it are no part.
pub(super) fn text(node: Node<'_, '_>) -> String {
    let text: String = node.children().filter(Node::is_text).filter_map(|child| child.text()).collect();
    text.trim().to_owned()
}

/// The text of a child element; none where it is not there or empty.
pub(super) fn child_text(node: Node<'_, '_>, name: &str) -> Option<String> {
    child(node, name).map(text).filter(|text| !text.is_empty())
}
