# Changes nothing while another program holds a port that a service needs.
{%- from "netboot/map.jinja" import order, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

netboot-ports-free:
  netboot_service.ports_free:
    - name: ports
    - order: {{ order.ports }}
    - failhard: True
{%- endif %}
