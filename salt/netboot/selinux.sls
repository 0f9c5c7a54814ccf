# Where SELinux is enabled: types of files that services read and write, before any is written.
{%- from "netboot/map.jinja" import config, paths, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems and config.selinux %}

netboot-selinux-packages:
  netboot_packages.installed:
    - name: semanage
    - pkgs: {{ config.platform.packages.selinux | json }}
    - reload_modules: True
{%- for state, directory, type in [
    ('root', config.root, 'public_content_t'),
    ('once', paths.once_scripts, 'public_content_t'),
    ('answers', paths.answers, 'public_content_t'),
    ('page', paths.page, 'public_content_t'),
    ('leases', paths.leases, 'dnsmasq_lease_t'),
    ('programs', paths.programs, 'bin_t'),
] %}

netboot-selinux-{{ state }}:
  netboot_selinux.labeled:
    - name: {{ directory }}
    - selinux_type: {{ type }}
    - require:
      - netboot_packages: netboot-selinux-packages
      - file: netboot-staging
{%- endfor %}
{#- The other ports are http_port_t in Fedora's policy. #}
{%- set ports = [config.http.port] + ([config.http.https_port] if config.http.certificate else []) %}
{%- for port in ports if port not in (80, 81, 443, 488, 8008, 8009, 8443, 9000) %}

netboot-selinux-port-{{ port }}:
  netboot_selinux.http_port:
    - name: {{ port }}
    - require:
      - netboot_packages: netboot-selinux-packages
{%- endfor %}
{%- endif %}
