{{/* What values can set in the pods of controllers and of HAProxy. */}}

{{/* Fields of a pod that values name as Kubernetes does; given a list: the values of these pods, and what holds for empty ones. */}}
{{- define "haptic.podFields" -}}
{{- $values := index . 0 -}}
{{- $defaults := index . 1 -}}
{{- $fields := dict "securityContext" $values.podSecurityContext -}}
{{- range $name := list "imagePullSecrets" "priorityClassName" "runtimeClassName" "dnsPolicy" "dnsConfig" "hostAliases" "nodeSelector" "tolerations" "affinity" -}}
{{- with get $values $name | default (get $defaults $name) -}}
{{- $_ := set $fields $name . -}}
{{- end -}}
{{- end -}}
{{- toYaml $fields -}}
{{- end }}

{{/* How new pods replace old ones; given a list: the value, the default. A value stands in the place of the whole default: the fields
of RollingUpdate are wrong beside another type. */}}
{{- define "haptic.strategy" -}}
{{- index . 0 | default (index . 1) | toYaml -}}
{{- end }}

{{/* Ports of HAProxy's container that the values add: those of the Service's extraPorts that are not its own. */}}
{{- define "haptic.extraPorts" -}}
{{- $ports := list -}}
{{- range .Values.haproxy.service.extraPorts -}}
{{- $to := .targetPort | default .port -}}
{{- if not (kindIs "string" $to) -}}
{{- $ports = append $ports (dict "name" .name "containerPort" (int $to) "protocol" (.protocol | default "TCP")) -}}
{{- end -}}
{{- end -}}
{{- with $ports -}}{{- toYaml . -}}{{- end -}}
{{- end }}

{{/* Values for pods that cannot be together. */}}
{{- define "haptic.refusePods" -}}
{{- if and .Values.controller.lifecycle.preStop .Values.controller.preStopSeconds -}}
{{- fail (printf "controller.lifecycle.preStop is set and controller.preStopSeconds is %d: the chart's wait is a preStop, too; set controller.preStopSeconds to 0, and wait in your own preStop" (int .Values.controller.preStopSeconds)) -}}
{{- end -}}
{{- if .Values.haproxy.lifecycle.preStop -}}
{{- fail "haproxy.lifecycle.preStop is set: HAProxy's preStop is the wait of haproxy.drainSeconds, without which requests are refused while a pod ends; use the preStop of one of haproxy.sidecars" -}}
{{- end -}}
{{- $own := dict
      "controller" (dict "volumes" (list "config" "tls" "webhook-token" "webhook-tls" "run" "tmp" "token") "containers" (list "controller" "default-certificate"))
      "haproxy" (dict "volumes" (list "run" "tmp" "tls") "containers" (list "haproxy" "agent")) -}}
{{- range $component, $names := $own -}}
{{- $values := index $.Values $component -}}
{{- range $values.extraVolumes -}}
{{- if has .name $names.volumes -}}
{{- fail (printf "%s.extraVolumes has the name %s, which is one of the chart's own volumes" $component .name) -}}
{{- end -}}
{{- end -}}
{{- range $list := list "sidecars" "initContainers" -}}
{{- range index $values $list -}}
{{- if has .name $names.containers -}}
{{- fail (printf "%s.%s has the name %s, which is one of the chart's own containers" $component $list .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The same of the ports of HAProxy's Service. */}}
{{- define "haptic.refusePorts" -}}
{{- $names := list "http" "https" "http3" "status" "agent" "agent-status" -}}
{{- with .Values.haproxy.service -}}
{{- $seen := dict (printf "TCP %d" (int .http.port)) "haproxy.service.http.port" -}}
{{- if $.Values.https.enabled -}}
{{- $_ := set $seen (printf "TCP %d" (int .https.port)) "haproxy.service.https.port" -}}
{{- if $.Values.https.http3 -}}
{{- $_ := set $seen (printf "UDP %d" (int .https.port)) "haproxy.service.https.port" -}}
{{- end -}}
{{- end -}}
{{- range .extraPorts -}}
{{- if has .name $names -}}
{{- fail (printf "haproxy.service.extraPorts has the name %s twice, or it is the name of one of the chart's own ports" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- $port := printf "%s %d" (.protocol | default "TCP") (int .port) -}}
{{- with get $seen $port -}}
{{- fail (printf "haproxy.service.extraPorts has the port %s, which is that of %s, too" $port .) -}}
{{- end -}}
{{- $_ := set $seen $port (printf "the entry %s" .name) -}}
{{- $to := .targetPort | default .port -}}
{{- if and (kindIs "string" $to) (eq $to "https") (not $.Values.https.enabled) -}}
{{- fail (printf "haproxy.service.extraPorts: the entry %s has the target https, and https.enabled is false" .name) -}}
{{- end -}}
{{- if not (kindIs "string" $to) -}}
{{- if lt (int $to) 1024 -}}
{{- fail (printf "haproxy.service.extraPorts: the entry %s has the target port %d: HAProxy may not listen below 1024; set targetPort" .name (int $to)) -}}
{{- end -}}
{{- if has (int $to) (list (include "haptic.port.http" $ | int) (include "haptic.port.https" $ | int) 5555 5557 8404) -}}
{{- fail (printf "haproxy.service.extraPorts: the entry %s has the target port %d, which the pod already uses; for HTTP or HTTPS set targetPort to http or https" .name (int $to)) -}}
{{- end -}}
{{- $target := printf "target %s %d" (.protocol | default "TCP") (int $to) -}}
{{- with get $seen $target -}}
{{- fail (printf "haproxy.service.extraPorts: two entries, one of them %s, have the target port %d" . (int $to)) -}}
{{- end -}}
{{- $_ := set $seen $target .name -}}
{{- end -}}
{{- if and .nodePort (eq $.Values.haproxy.service.type "ClusterIP") -}}
{{- fail (printf "haproxy.service.type is ClusterIP and the entry %s of haproxy.service.extraPorts has a nodePort: it is for NodePort and LoadBalancer" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .healthCheckNodePort (not (and (eq .type "LoadBalancer") (eq .externalTrafficPolicy "Local"))) -}}
{{- fail (printf "haproxy.service.healthCheckNodePort is set, haproxy.service.type is %s and haproxy.service.externalTrafficPolicy is %s: it is for LoadBalancer and Local" .type .externalTrafficPolicy) -}}
{{- end -}}
{{- end -}}
{{- end }}
