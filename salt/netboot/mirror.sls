# ISOs for other netboot servers: fetched, verified, served over HTTP, and nothing for clients.
{%- from "netboot/map.jinja" import config, paths, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems and config.mirror == 'off' %}

netboot-mirror:
  netboot.config_valid:
    - name: pillar netboot
    - problems:
      - "netboot:mirror: is missing; only: this machine is a mirror; also: it serves clients, too"
{%- elif not problems %}
  - netboot.http
  - netboot.images
  - netboot.firewall
  - netboot.admins
  - netboot.schedule

# By it servers find what changed, without the server that the ISOs came from.
netboot-mirror-sums:
  netboot_mirror.listed:
    - name: {{ paths.dist }}/SHA256SUM
    - require:
      - netboot: netboot-config-applied
      {%- for image in config.images %}
      - alt_iso: netboot-image-{{ image.label }}-fetched
      {%- endfor %}

# By these servers fetch of a new revision only what changed.
netboot-mirror-deltas:
  netboot_mirror.indexed:
    - name: deltas
    - require:
      - netboot: netboot-config-applied
      {%- if config.deltas and config.images %}
      - netboot_packages: netboot-deltas-packages
      {%- endif %}
      {%- for image in config.images %}
      - alt_iso: netboot-image-{{ image.label }}-fetched
      {%- endfor %}
{%- endif %}
