<%@ page session="false" contentType="text/plain" trimDirectiveWhitespaces="true" import="java.sql.*,java.util.concurrent.*,java.util.concurrent.atomic.*,javax.naming.*,javax.sql.*" %><%!
// Each start of a server numbers its orders from another place on; two hosts may have the same process ids.
static final AtomicLong NEXT = new AtomicLong((ThreadLocalRandom.current().nextLong(1, 1 << 30) << 32) + ROWS);
%><%
// Writes an order and reads it back, and an old one.
long id = NEXT.incrementAndGet(), old = id % ROWS + 1;
String wrong = null;
DataSource orders = (DataSource) new InitialContext().lookup("java:comp/env/jdbc/orders");
try (Connection connection = orders.getConnection();
        PreparedStatement insert = connection.prepareStatement("INSERT INTO orders (id, COLUMN) VALUES (?, ?)");
        PreparedStatement select = connection.prepareStatement("SELECT id, COLUMN FROM orders WHERE id IN (?, ?)")) {
    insert.setLong(1, id);
    insert.setLong(2, id % 1000);
    insert.executeUpdate();
    select.setLong(1, id);
    select.setLong(2, old);
    int rows = 0;
    for (ResultSet row = select.executeQuery(); row.next(); rows++) {
        if (row.getLong(2) != row.getLong(1) % 1000 || row.wasNull()) wrong = "COLUMN of " + row.getLong(1) + " is " + row.getString(2);
    }
    if (rows != 2) wrong = rows + " rows, not 2";
} catch (SQLException error) {
    wrong = error.getMessage();
}
if (wrong != null) response.setStatus(500);
%><%= "orders " + System.getProperty("ha.release") + " " + (wrong != null ? wrong : id) %>
