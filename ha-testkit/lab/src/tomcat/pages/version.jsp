<%@ page session="false" contentType="text/plain" trimDirectiveWhitespaces="true" %><%= System.getProperty("ha.release") %>
