--- Everything that the end-to-end specs stand on: the enclosure and scopes (e2e_core), and what a scope can start.

require("support.e2e_cluster")
require("support.e2e_identity")
require("support.e2e_haproxy")
require("support.e2e_haptic")
require("support.e2e_tls")
require("support.e2e_pebble")
require("support.e2e_traffic")
require("support.e2e_replicas")
require("support.e2e_fleet")
require("support.e2e_reloads")
require("support.e2e_world")
require("support.e2e_keys")

return require("support.e2e_core")
