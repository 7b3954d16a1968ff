{{/* Where HAProxy runs, in one place. "local": in the controller's own pod, started and watched over by the replica that leads; the
other replicas have none, and are not ready until they lead. The Service then finds the leader's pod, the only ready one. */}}

{{/* The component whose pods take the traffic. */}}
{{- define "haptic.trafficComponent" -}}controller{{- end }}

{{/* What "haptic run" is told about HAProxy. */}}
{{- define "haptic.haproxyArgs" -}}
- --haproxy=local
- --haproxy-dir=/run/haptic/haproxy
{{- end }}

{{/* The ports of HAProxy in the controller's container. */}}
{{- define "haptic.haproxyPorts" -}}
- name: http
  containerPort: 8080
  protocol: TCP
- name: status
  containerPort: 8404
  protocol: TCP
{{- end }}

{{/* Two HAProxys cannot serve beside each other here: a new pod would wait for the old leader, which a rolling update would not end. */}}
{{- define "haptic.controllerStrategy" -}}
type: Recreate
{{- end }}

{{/* What somebody who installs it should know of this. */}}
{{- define "haptic.modeNotes" }}

HAProxy runs in the pod of the replica that leads. The other replicas are not ready until they lead: that is no fault.
{{- end }}
