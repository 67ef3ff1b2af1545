-- Lets requests wait while consumers are held in front of all sites.
--
--   global
--       setenv HA_SITES_MAP /etc/haproxy/sites.map
--       lua-load /etc/haproxy/ha-hold.lua
--   frontend front
--       http-request lua.ha_hold
--       use_backend site_%[str(site),map(/etc/haproxy/sites.map)]
--       default_backend nowhere

local map = Map.new(os.getenv("HA_SITES_MAP") or "/etc/haproxy/sites.map", Map._str)

core.register_action("ha_hold", { "http-req" }, function()
    while map:lookup("site") == "held" do
        core.msleep(10)
    end
end)

-- Says that this is loaded.
core.register_cli({ "show", "ha-hold" }, "show ha-hold : whether requests can be held", function(applet)
    applet:send("ha-hold 1\n")
end)
