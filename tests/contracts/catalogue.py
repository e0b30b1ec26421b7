"""Every feature of the catalogue, line by line: a rename here is a visible decision."""

from __future__ import annotations

FEATURES = """
x_mm | geometry | die | static | double | mm | place,map
y_mm | geometry | die | static | double | mm | place,map
radius_mm | geometry | die | static | double | mm | place,map
radius_norm | geometry | die | static | double | 1 | place,map
angle_rad | geometry | die | static | double | rad | place,map
notch_angle_rad | geometry | die | static | double | rad | place,map
edge_distance_mm | geometry | die | static | double | mm | place,map
is_edge | geometry | die | static | boolean | - | place,map
is_border | geometry | die | static | boolean | - | place,map
ring | geometry | die | static | int | - | place,map
ring_equal_area | geometry | die | static | int | - | place,map
sector | geometry | die | static | int | - | place,map
zone | geometry | die | static | int | - | place,map
reticle_x | geometry | die | static | int | dies | place,map
reticle_y | geometry | die | static | int | dies | place,map
reticle_position | geometry | die | static | int | - | place,map
shot_x | geometry | die | static | int | shots | place,map
shot_y | geometry | die | static | int | shots | place,map
shot | geometry | die | static | int | - | place,map
neighbor_possible | map | die | before_test | int | dies | place,map
neighbor_count | outcome_neighborhood | die | before_test | int | dies | place
fail__neighbor_count | outcome_neighborhood | die | before_test | int | dies | passed
fail__neighbor_frac | outcome_neighborhood | die | before_test | double | 1 | passed
fail__neighbor_score | outcome_neighborhood | die | before_test | double | 1 | passed
fail__neighbor_same_bin | outcome_neighborhood | die | before_test | int | dies | passed,hard_bin
ring5_count | outcome_neighborhood | die | before_test | int | dies | place
fail__ring5_count | outcome_neighborhood | die | before_test | int | dies | passed
fail__ring5_frac | outcome_neighborhood | die | before_test | double | 1 | passed
fail__density_box | outcome_density | die | before_test | double | 1 | passed,map
fail__density_gauss | outcome_density | die | before_test | double | 1 | passed,map
fail__nearest_mm | outcome_distance | die | before_test | double | mm | passed,map
fail__nearest_dies | outcome_distance | die | before_test | double | dies | passed
fail__cluster_size | outcome_cluster | die | before_test | int | dies | passed
tested_count | wafer_outcomes | die | before_test | int | dies | place
yield | wafer_outcomes | die | before_test | double | 1 | passed
ring_yield | wafer_outcomes | die | before_test | double | 1 | passed,map
sector_yield | wafer_outcomes | die | before_test | double | 1 | passed,map
reticle_yield | wafer_outcomes | die | before_test | double | 1 | passed,map
site_yield | wafer_outcomes | die | before_test | double | 1 | passed,site
fail__join_bb | wafer_outcomes | die | before_test | int | pairs | passed
fail__join_bw | wafer_outcomes | die | before_test | int | pairs | passed
fail__join_ww | wafer_outcomes | die | before_test | int | pairs | passed
fail__join_bb_expected | wafer_outcomes | die | before_test | double | pairs | passed
fail__join_bw_expected | wafer_outcomes | die | before_test | double | pairs | passed
fail__join_ww_expected | wafer_outcomes | die | before_test | double | pairs | passed
fail__moran_i | wafer_outcomes | die | before_test | double | 1 | passed
fail__run_length | wafer_outcomes | die | before_test | int | dies | passed
{bin}__rate | wafer_outcomes | die | before_test | double | 1 | hard_bin
{p}__neighbor_count | parametric_neighborhood | die | before_test | int | dies | value
{p}__neighbor_mean | parametric_neighborhood | die | before_test | double | - | value
{p}__neighbor_std | parametric_neighborhood | die | before_test | double | - | value
{p}__neighbor_min | parametric_neighborhood | die | before_test | double | - | value
{p}__neighbor_max | parametric_neighborhood | die | before_test | double | - | value
{p}__neighbor_median | parametric_neighborhood | die | before_test | double | - | value
{p}__neighbor_range | parametric_neighborhood | die | before_test | double | - | value
{p}__gradient_x | parametric_gradient | die | before_test | double | per mm | value,map
{p}__gradient_y | parametric_gradient | die | before_test | double | per mm | value,map
{p}__gradient | parametric_gradient | die | before_test | double | per mm | value,map
{p}__gradient_rad | parametric_gradient | die | before_test | double | rad | value,map
{p}__gradient_r2 | parametric_gradient | die | before_test | double | 1 | value,map
{p}__radius_gradient_x | parametric_surface | die | before_test | double | per mm | value,map
{p}__radius_gradient_y | parametric_surface | die | before_test | double | per mm | value,map
{p}__radius_gradient | parametric_surface | die | before_test | double | per mm | value,map
{p}__radius_gradient_rad | parametric_surface | die | before_test | double | rad | value,map
{p}__radius_gradient_r2 | parametric_surface | die | before_test | double | 1 | value,map
{p}__wafer_mean | wafer_values | die | before_test | double | - | value
{p}__wafer_std | wafer_values | die | before_test | double | - | value
{p}__site_bias | wafer_values | die | before_test | double | - | value,site
{p}__moran_i | wafer_values | die | before_test | double | 1 | value
{p}__plane_0 | wafer_surface | die | before_test | double | - | value,map
{p}__plane_x | wafer_surface | die | before_test | double | per mm | value,map
{p}__plane_y | wafer_surface | die | before_test | double | per mm | value,map
{p}__bowl_0 | wafer_surface | die | before_test | double | - | value,map
{p}__bowl_x | wafer_surface | die | before_test | double | per mm | value,map
{p}__bowl_y | wafer_surface | die | before_test | double | per mm | value,map
{p}__bowl_r2 | wafer_surface | die | before_test | double | per mm2 | value,map
{p}__wafer_median | wafer_quantiles | die | before_test | double | - | value
{p}__wafer_iqr | wafer_quantiles | die | before_test | double | - | value
{p} | measured | die | at_test | double | - | value
{p}__nnr_median | own_context | die | at_test | double | - | value
{p}__nnr_mean | own_context | die | at_test | double | - | value
{p}__nnr_ratio | own_context | die | at_test | double | 1 | value
{p}__zscore | own_context | die | at_test | double | 1 | value
{p}__robust_zscore | own_context | die | at_test | double | 1 | value
{p}__rank | own_context | die | at_test | double | 1 | value
{p}__plane_residual | own_context | die | at_test | double | - | value,map
neighbor_same_bin | own_bin | die | at_test | int | dies | hard_bin
full_neighbor_count | full_outcome_neighborhood | die | after_wafer | int | dies | place
fail__full_neighbor_count | full_outcome_neighborhood | die | after_wafer | int | dies | passed
fail__full_neighbor_frac | full_outcome_neighborhood | die | after_wafer | double | 1 | passed
fail__full_neighbor_score | full_outcome_neighborhood | die | after_wafer | double | 1 | passed
fail__full_neighbor_same_bin | full_outcome_neighborhood | die | after_wafer | int | dies | passed,hard_bin
full_ring5_count | full_outcome_neighborhood | die | after_wafer | int | dies | place
fail__full_ring5_count | full_outcome_neighborhood | die | after_wafer | int | dies | passed
fail__full_ring5_frac | full_outcome_neighborhood | die | after_wafer | double | 1 | passed
fail__full_density_box | full_outcome_density | die | after_wafer | double | 1 | passed,map
fail__full_density_gauss | full_outcome_density | die | after_wafer | double | 1 | passed,map
fail__full_nearest_mm | full_outcome_distance | die | after_wafer | double | mm | passed,map
fail__full_nearest_dies | full_outcome_distance | die | after_wafer | double | dies | passed
fail__full_cluster_size | full_outcome_cluster | die | after_wafer | int | dies | passed
full_tested_count | full_wafer_outcomes | die | after_wafer | int | dies | place
full_yield | full_wafer_outcomes | die | after_wafer | double | 1 | passed
full_ring_yield | full_wafer_outcomes | die | after_wafer | double | 1 | passed,map
full_sector_yield | full_wafer_outcomes | die | after_wafer | double | 1 | passed,map
full_reticle_yield | full_wafer_outcomes | die | after_wafer | double | 1 | passed,map
full_site_yield | full_wafer_outcomes | die | after_wafer | double | 1 | passed,site
fail__full_join_bb | full_wafer_outcomes | die | after_wafer | int | pairs | passed
fail__full_join_bw | full_wafer_outcomes | die | after_wafer | int | pairs | passed
fail__full_join_ww | full_wafer_outcomes | die | after_wafer | int | pairs | passed
fail__full_join_bb_expected | full_wafer_outcomes | die | after_wafer | double | pairs | passed
fail__full_join_bw_expected | full_wafer_outcomes | die | after_wafer | double | pairs | passed
fail__full_join_ww_expected | full_wafer_outcomes | die | after_wafer | double | pairs | passed
fail__full_moran_i | full_wafer_outcomes | die | after_wafer | double | 1 | passed
fail__full_run_length | full_wafer_outcomes | die | after_wafer | int | dies | passed
{bin}__full_rate | full_wafer_outcomes | die | after_wafer | double | 1 | hard_bin
{p}__full_neighbor_count | full_parametric_neighborhood | die | after_wafer | int | dies | value
{p}__full_neighbor_mean | full_parametric_neighborhood | die | after_wafer | double | - | value
{p}__full_neighbor_std | full_parametric_neighborhood | die | after_wafer | double | - | value
{p}__full_neighbor_min | full_parametric_neighborhood | die | after_wafer | double | - | value
{p}__full_neighbor_max | full_parametric_neighborhood | die | after_wafer | double | - | value
{p}__full_neighbor_median | full_parametric_neighborhood | die | after_wafer | double | - | value
{p}__full_neighbor_range | full_parametric_neighborhood | die | after_wafer | double | - | value
{p}__full_gradient_x | full_parametric_gradient | die | after_wafer | double | per mm | value,map
{p}__full_gradient_y | full_parametric_gradient | die | after_wafer | double | per mm | value,map
{p}__full_gradient | full_parametric_gradient | die | after_wafer | double | per mm | value,map
{p}__full_gradient_rad | full_parametric_gradient | die | after_wafer | double | rad | value,map
{p}__full_gradient_r2 | full_parametric_gradient | die | after_wafer | double | 1 | value,map
{p}__full_radius_gradient_x | full_parametric_surface | die | after_wafer | double | per mm | value,map
{p}__full_radius_gradient_y | full_parametric_surface | die | after_wafer | double | per mm | value,map
{p}__full_radius_gradient | full_parametric_surface | die | after_wafer | double | per mm | value,map
{p}__full_radius_gradient_rad | full_parametric_surface | die | after_wafer | double | rad | value,map
{p}__full_radius_gradient_r2 | full_parametric_surface | die | after_wafer | double | 1 | value,map
{p}__full_wafer_mean | full_wafer_values | die | after_wafer | double | - | value
{p}__full_wafer_std | full_wafer_values | die | after_wafer | double | - | value
{p}__full_site_bias | full_wafer_values | die | after_wafer | double | - | value,site
{p}__full_moran_i | full_wafer_values | die | after_wafer | double | 1 | value
{p}__full_plane_0 | full_wafer_surface | die | after_wafer | double | - | value,map
{p}__full_plane_x | full_wafer_surface | die | after_wafer | double | per mm | value,map
{p}__full_plane_y | full_wafer_surface | die | after_wafer | double | per mm | value,map
{p}__full_bowl_0 | full_wafer_surface | die | after_wafer | double | - | value,map
{p}__full_bowl_x | full_wafer_surface | die | after_wafer | double | per mm | value,map
{p}__full_bowl_y | full_wafer_surface | die | after_wafer | double | per mm | value,map
{p}__full_bowl_r2 | full_wafer_surface | die | after_wafer | double | per mm2 | value,map
{p}__full_wafer_median | full_wafer_quantiles | die | after_wafer | double | - | value
{p}__full_wafer_iqr | full_wafer_quantiles | die | after_wafer | double | - | value
{p}__full_value | full_measured | die | after_wafer | double | - | value
{p}__full_nnr_median | full_own_context | die | after_wafer | double | - | value
{p}__full_nnr_mean | full_own_context | die | after_wafer | double | - | value
{p}__full_nnr_ratio | full_own_context | die | after_wafer | double | 1 | value
{p}__full_zscore | full_own_context | die | after_wafer | double | 1 | value
{p}__full_robust_zscore | full_own_context | die | after_wafer | double | 1 | value
{p}__full_rank | full_own_context | die | after_wafer | double | 1 | value
{p}__full_plane_residual | full_own_context | die | after_wafer | double | - | value,map
full_neighbor_same_bin | full_own_bin | die | after_wafer | int | dies | hard_bin
{p}__pat_flag | pat | die | after_wafer | boolean | - | value,passed
{p}__robust_pat_flag | pat | die | after_wafer | boolean | - | value,passed
wafer_tested_count | wafer_summary | wafer | after_wafer | int | dies | -
wafer_yield | wafer_summary | wafer | after_wafer | double | 1 | passed
{bin}__wafer_rate | wafer_summary | wafer | after_wafer | double | 1 | hard_bin
fail__wafer_join_bb | wafer_summary | wafer | after_wafer | int | pairs | passed
fail__wafer_join_bw | wafer_summary | wafer | after_wafer | int | pairs | passed
fail__wafer_join_ww | wafer_summary | wafer | after_wafer | int | pairs | passed
fail__wafer_join_bb_expected | wafer_summary | wafer | after_wafer | double | pairs | passed
fail__wafer_join_bw_expected | wafer_summary | wafer | after_wafer | double | pairs | passed
fail__wafer_join_ww_expected | wafer_summary | wafer | after_wafer | double | pairs | passed
fail__wafer_moran_i | wafer_summary | wafer | after_wafer | double | 1 | passed
{p}__whole_wafer_mean | wafer_summary | wafer | after_wafer | double | - | value
{p}__whole_wafer_std | wafer_summary | wafer | after_wafer | double | - | value
{p}__whole_wafer_median | wafer_summary | wafer | after_wafer | double | - | value
{p}__whole_wafer_iqr | wafer_summary | wafer | after_wafer | double | - | value
{p}__whole_moran_i | wafer_summary | wafer | after_wafer | double | 1 | value
{p}__whole_plane_0 | wafer_summary | wafer | after_wafer | double | - | value
{p}__whole_plane_x | wafer_summary | wafer | after_wafer | double | per mm | value
{p}__whole_plane_y | wafer_summary | wafer | after_wafer | double | per mm | value
{p}__whole_bowl_0 | wafer_summary | wafer | after_wafer | double | - | value
{p}__whole_bowl_x | wafer_summary | wafer | after_wafer | double | per mm | value
{p}__whole_bowl_y | wafer_summary | wafer | after_wafer | double | per mm | value
{p}__whole_bowl_r2 | wafer_summary | wafer | after_wafer | double | per mm2 | value
{p}__whole_pat_low | wafer_summary | wafer | after_wafer | double | - | value,passed
{p}__whole_pat_high | wafer_summary | wafer | after_wafer | double | - | value,passed
{p}__whole_robust_pat_low | wafer_summary | wafer | after_wafer | double | - | value,passed
{p}__whole_robust_pat_high | wafer_summary | wafer | after_wafer | double | - | value,passed
{ring}__yield | wafer_zones | wafer | after_wafer | double | 1 | passed,map
{sector}__yield | wafer_zones | wafer | after_wafer | double | 1 | passed,map
{zone}__yield | wafer_zones | wafer | after_wafer | double | 1 | passed,map
{p}__{ring}_mean | wafer_profile | wafer | after_wafer | double | - | value,map
wm_density_{n} | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_radon_mean_{n} | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_radon_std_{n} | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_component_area | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_component_perimeter | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_component_major | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_component_minor | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_component_eccentricity | wm811k | wafer | after_wafer | double | 1 | passed,map
wm_component_solidity | wm811k | wafer | after_wafer | double | 1 | passed,map
wafers_done | lot | lot | after_wafer | int | wafers | -
yield_mean | lot | lot | after_wafer | double | 1 | passed
yield_std | lot | lot | after_wafer | double | 1 | passed
{p}__lot_mean | lot | lot | after_wafer | double | - | value
{p}__lot_std | lot | lot | after_wafer | double | - | value
{p}__lot_die_mean | lot | lot | after_wafer | double | - | value
{p}__lot_die_std | lot | lot | after_wafer | double | - | value
"""
