<%@ page session="false" contentType="text/plain" trimDirectiveWhitespaces="true" import="java.net.*,java.nio.file.*,java.util.*" %><%
// Each war must be served in its newest version: what lies in the folder is deployed some time later.
TreeMap<String, String> newest = new TreeMap<>();
try (DirectoryStream<Path> wars = Files.newDirectoryStream(Path.of(System.getProperty("catalina.base"), "webapps"), "*.war")) {
    for (Path war : wars) {
        String[] name = war.getFileName().toString().replace(".war", "").split("##");
        newest.merge(name[0], name.length > 1 ? name[1] : "", (one, other) -> one.compareTo(other) > 0 ? one : other);
    }
}
long until = System.nanoTime() + 20_000_000_000L;
String wrong = null;
for (Map.Entry<String, String> app : newest.entrySet()) {
    for (;;) {
        String served;
        try {
            URL url = new URL("http://127.0.0.1:" + request.getLocalPort() + "/" + app.getKey() + "/version.txt");
            HttpURLConnection connection = (HttpURLConnection) url.openConnection();
            connection.setReadTimeout(5000);
            served = new String(connection.getInputStream().readAllBytes()).trim();
        } catch (java.io.IOException error) {
            served = error.toString();
        }
        if (served.equals(app.getValue())) break;
        if (System.nanoTime() > until) {
            wrong = app.getKey() + " is there in version " + app.getValue() + ", served is " + served;
            break;
        }
        Thread.sleep(50);
    }
}
if (wrong != null) response.setStatus(500);
%><%= wrong != null ? wrong : "ok " + System.getProperty("ha.release") %>
