<%@ page session="false" contentType="text/plain" trimDirectiveWhitespaces="true" %><%
String ms = request.getParameter("ms");
if (ms != null) Thread.sleep(Long.parseLong(ms));
%><%= "orders " + System.getProperty("ha.release") + " " + ProcessHandle.current().pid() %>
