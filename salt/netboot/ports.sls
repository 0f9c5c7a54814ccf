# Nothing is changed while another program holds a port that a service needs.
{%- from "netboot/map.jinja" import config, problems with context %}
{%- if problems %}

include:
  - netboot.invalid
{%- else %}

netboot-ports-free:
  netboot_ports.free:
    - name: ports
    - config: {{ config | json }}
    - order: first
    - failhard: True
{%- endif %}
