"""Every row of the fault catalogue that touches a door, an order or market data, and the tests that bear its number.

    CATALOGUE                                             row -> what happens, and its stories by name
    python -m tests.scenarios.test_fault_catalogue        writes docs/faults.md from it

The catalogue itself is ../shared/reference/faults.md; titles here are short for its rows, and a row may have more tests
than are named.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
REFERENCE = TESTS.parents[1] / "shared" / "reference" / "faults.md"


class Row:
    """`tests` are names of test functions, each with the row's number in it. `not_portal` says why no story plays at
    the portal; "" where one does."""

    def __init__(self, title: str, *tests: str, not_portal: str = "") -> None:
        self.title = title
        self.tests = tests
        self.not_portal = not_portal


#: Families of rows that are listed elsewhere.
ELSEWHERE = {
    "Q": "promises; their tests bear their numbers: tests/scenarios/test_promise_*.py and many of the stories below",
    "H": "history and reference data: tests/scenarios/test_fault_history.py and tests/brokers/interactive_brokers",
}

CATALOGUE: dict[str, Row] = {
    "C01": Row(
        "1100, then 1102: what happened inside the window",
        "test_c01_q6_a_fill_missed_in_the_gap_is_told_once_as_recovered",
        "test_c01_q6_a_batch_that_fills_at_the_open_inside_a_1100_window",
        "test_c01_c05_q6_what_happened_while_the_session_was_gone_is_told_once_as_missed",
        "test_c01_a_short_loss_of_the_broker_changes_no_doors_and_a_long_one_does",
    ),
    "C02": Row(
        "1101: subscriptions are gone",
        "test_c02_d03_subscriptions_come_back_with_gap_resumed_and_a_tick",
        "test_c02_c03_a_lost_stream_is_a_gap_that_ends_and_orders_go_on_meanwhile",
    ),
    "C03": Row(
        "a market data farm flaps",
        "test_c03_a_farm_flap_touches_only_the_silent_lines",
        "test_c03_c04_a_farm_that_is_down_has_a_name_and_orders_go_on",
        "test_c02_c03_a_lost_stream_is_a_gap_that_ends_and_orders_go_on_meanwhile",
    ),
    "C04": Row(
        "a historical data farm is down",
        "test_c03_c04_a_farm_that_is_down_has_a_name_and_orders_go_on",
        not_portal="the portal tells of no farms",
    ),
    "C05": Row(
        "TWS has lost its server (2110)",
        "test_c05_the_brokers_own_link_down_refuses_orders_and_keeps_the_socket",
        "test_c01_c05_q6_what_happened_while_the_session_was_gone_is_told_once_as_missed",
    ),
    "C06": Row(
        "the socket port moves (1300)",
        "test_c06_the_port_moves_and_the_client_follows",
        not_portal="an HTTPS address does not move",
    ),
    "C07": Row(
        "the client id is in use (326)",
        "test_c07_a_client_id_in_use_is_told_at_once",
        not_portal="the portal knows no client ids; two logins of one user are P16",
    ),
    "C08": Row(
        "a connection is accepted and no session comes",
        "test_c08_a_gateway_that_accepts_and_says_nothing_ends_with_the_deadline",
        "test_c08_half_a_greeting_is_no_session",
        "test_c08_c15_c29_connecting_ends_with_its_deadline_and_says_why",
    ),
    "C09": Row(
        "a start-up question without an end marker",
        "test_c09_a_missing_end_marker_blocks_trading_until_it_is_known",
        "test_c09_a_start_up_question_without_an_answer_blocks_trading_until_it_is_known",
    ),
    "C10": Row(
        "a half-open link",
        "test_c10_a_half_open_link_is_noticed_while_idle",
        "test_c10_no_order_leaves_on_a_link_that_fails_its_probe",
        "test_c10_q14_a_half_open_link_is_noticed_within_ten_seconds_while_idle",
        "test_c10_q14_no_order_leaves_on_a_link_that_fails_its_probe_and_that_takes_a_second",
        "test_c10_q14_a_half_open_tws_is_noticed_in_ten_seconds_and_left_ten_seconds_later",
        "test_c10_q3_no_order_leaves_on_a_half_open_link_and_none_is_sent_twice",
    ),
    "C11": Row(
        "a restart with orders in flight; order ids go back",
        "test_c11_q16_order_ids_never_go_back",
        "test_c11_q16_order_ids_rise_although_the_gateway_was_restarted_and_counts_back",
        "test_c11_a_gateway_that_restarts_under_an_order_loses_none_and_doubles_none",
    ),
    "C12": Row(
        "logged out, process alive",
        "test_c12_a_lost_link_is_a_failing_health",
        "test_c12_p14_logged_out_is_a_failing_health_that_alarms_a_few_times_and_mends_itself",
    ),
    "C13": Row(
        "nightly resets",
        "test_c13_three_nights_of_resets_are_outlived_with_bounded_patience",
        "test_c13_p11_nightly_maintenance_is_outlived_with_patience",
    ),
    "C14": Row(
        "a storm of reconnects",
        "test_c14_one_reconnect_at_a_time",
        "test_c14_a_storm_of_losses_makes_one_loop_that_tries_one_connection_at_a_time",
        "test_c14_many_losses_at_once_make_one_attempt_at_a_time",
    ),
    "C15": Row(
        "accepted, then ended at once",
        "test_c15_end_before_the_version_means_upstream_down",
        "test_c15_a_proxy_without_a_tws_behind_it",
        "test_c15_an_end_before_the_version_means_that_nothing_is_behind_and_is_not_hammered",
        "test_c08_c15_c29_connecting_ends_with_its_deadline_and_says_why",
    ),
    "C16": Row(
        "a corrupt length, a message cut in the middle",
        "test_c16_a_message_that_stops_in_the_middle_costs_the_link_and_nothing_else",
        "test_c16_c19_a_frame_that_cannot_be_read_harms_nobody",
    ),
    "C17": Row(
        "a message in pieces, or several in one",
        "test_c17_orders_live_on_a_link_that_delivers_in_pieces_and_late",
        not_portal="HTTP and WebSocket libraries frame the messages",
    ),
    "C18": Row(
        "decoding out of step",
        "test_c18_a_field_too_few_is_reported_and_nothing_half_read",
        "test_c18_a_field_too_many_is_reported_and_the_rest_still_read",
        not_portal="JSON has no fields out of step; a broken frame is C19",
    ),
    "C19": Row(
        "one message that cannot be read",
        "test_c19_an_order_message_that_cannot_be_read_is_followed_by_a_look",
        "test_c19_an_unknown_message_harms_nobody",
        "test_c16_c19_a_frame_that_cannot_be_read_harms_nobody",
        "test_c19_c21_a_frame_of_an_order_that_fails_is_counted_alarms_and_is_followed_by_a_look",
    ),
    "C20": Row(
        "a slow consumer",
        "test_c20_a_slow_consumer_gets_every_order_event_and_only_the_newest_quote",
    ),
    "C21": Row(
        "a callback raises",
        "test_c21_a_listener_that_fails_costs_nothing_but_its_own_event",
        "test_c19_c21_a_message_that_cannot_be_applied_is_counted_and_everything_is_read_anew",
        "test_c19_c21_a_frame_of_an_order_that_fails_is_counted_alarms_and_is_followed_by_a_look",
    ),
    "C22": Row(
        "too many messages a second",
        "test_c22_a_burst_that_arrives_late_and_the_next_one_bring_no_error_100",
        "test_q10_c22_a_cancel_leaves_at_once_when_orders_have_used_up_the_rate",
        "test_c22_p10_a_burst_of_questions_stays_within_the_limits",
    ),
    "C23": Row(
        "a cancel behind queued requests",
        "test_q10_c23_a_cancel_overtakes_200_queued_requests",
        "test_c23_q10_a_cancel_overtakes_what_is_queued",
    ),
    "C24": Row(
        "what was queued when the link ended",
        "test_c24_what_was_queued_when_the_link_ended_is_proven_not_sent",
        "test_c24_what_did_not_leave_is_reported_and_never_leaves",
        "test_c24_an_order_that_waits_for_its_turn_when_the_link_ends_is_proven_not_sent",
    ),
    "C25": Row(
        "what is known while the link is lost",
        "test_c25_values_survive_a_lost_link",
        "test_c25_orders_and_fills_are_there_after_a_restart",
        "test_c25_q13_what_is_known_is_kept_while_the_link_is_lost_and_unknown_is_not_empty",
    ),
    "C26": Row(
        "a server version that was not offered",
        "test_c26_a_version_that_was_not_offered_is_refused",
        not_portal="the portal negotiates no version",
    ),
    "C27": Row(
        "the server tells its time in a local language",
        "test_c27_every_alias_leads_to_a_zone",
        "test_c27_the_servers_time_may_be_in_any_language",
        not_portal="portal times are epoch milliseconds",
    ),
    "C28": Row(
        "clocks that disagree",
        "test_c28_the_offset_to_the_machines_clock",
        "test_c28_a_clock_that_is_wrong_is_told_and_blocks_nothing",
    ),
    "C29": Row(
        "connecting hangs",
        "test_c29_a_connect_that_hangs_meets_the_deadline",
        "test_c08_c15_c29_connecting_ends_with_its_deadline_and_says_why",
    ),
    "D01": Row(
        "another session has the data (10197)",
        "test_d01_a_competing_session_is_a_gap_that_ends_when_the_other_one_leaves",
        "test_d01_a_competing_session_opens_nothing_on_old_quotes",
        "test_d01_q15_a_feed_that_was_asked_again_is_resumed_by_its_first_value_alone",
        not_portal="two logins of one user are P16",
    ),
    "D02": Row(
        "live bars are dropped (10182)",
        "test_d02_live_bars_outlive_a_dropped_subscription",
        "test_d02_a_dropped_subscription_is_made_again_and_the_gap_filled",
        "test_d02_live_bars_are_asked_for_again_until_the_session_is_lost",
    ),
    "D03": Row(
        "subscribed again, and nothing comes",
        "test_c02_d03_subscriptions_come_back_with_gap_resumed_and_a_tick",
        "test_p06_d03_a_silent_line_that_is_asked_again_ticks_again",
    ),
    "D04": Row(
        "delayed ticks have other numbers",
        "test_d04_delayed_data_is_taken_when_allowed_and_flagged",
        "test_d04_d10_delayed_data_says_that_it_is",
    ),
    "D05": Row(
        "no permission: told, or only warned of",
        "test_d05_no_permission_is_an_error_of_its_own",
        "test_d05_no_permission_is_told_and_the_link_lives",
        "test_d05_data_that_the_user_lacks_is_no_permission_for_snapshots_and_streams",
    ),
    "D06": Row(
        "-1, 0 and NaN are no prices",
        "test_d06_what_is_no_price_is_none_and_opens_no_position",
        "test_d06_no_price_is_none",
        "test_d06_d09_what_is_no_number_is_none",
        "test_d06_d10_d16_a_prior_close_is_no_last_price_and_a_halted_one_says_so",
    ),
    "D07": Row(
        "sizes in lots, or in shares",
        "test_d07_sizes_in_round_lots_are_told_by_health",
        "test_d07_sizes_in_round_lots_are_a_warning",
        not_portal="the setting is one of TWS; the adapter looks at the sizes of either door",
    ),
    "D08": Row(
        "fractional sizes",
        "test_d08_fractions_of_a_share_are_neither_cut_nor_rounded",
        "test_d08_numbers_are_read_exactly_whatever_stands_around_them",
    ),
    "D09": Row(
        "the largest double means no value",
        "test_d09_the_largest_double_is_no_value_before_and_after_a_reconnect",
        "test_d09_a_commission_that_ib_did_not_tell_is_not_nothing",
        "test_d06_d09_what_is_no_number_is_none",
    ),
    "D10": Row(
        "the data delivered is not what was asked for",
        "test_d10_data_that_is_delivered_delayed_is_flagged_and_opens_nothing",
        "test_d10_the_data_type_is_what_was_delivered",
        "test_d04_d10_delayed_data_says_that_it_is",
    ),
    "D11": Row(
        "a book is reset (317), or rows come out of place",
        "test_d11_rows_out_of_place_neither_break_the_book_nor_its_order",
        "test_d11_a_depth_reset_empties_the_book",
        "test_d11_a_depth_reset_clears_the_book",
        not_portal="its ladder has neither a reset nor inserted rows: each frame names a row by its number",
    ),
    "D12": Row(
        "more lines, books or ticks than the account has",
        "test_d12_two_hundred_symbols_live_on_a_hundred_lines",
        "test_d12_a_lower_allowance_is_learnt_from_101_and_every_symbol_is_quoted_all_the_same",
        "test_d12_c02_a_lost_link_brings_back_lines_and_polls",
        "test_d12_streams_are_polled_while_a_question_needs_their_line_and_hot_symbols_are_not",
        "test_d12_depth_is_one_ladder_and_a_second_is_refused",
    ),
    "D13": Row(
        "a cancel of a line that is gone (300)",
        "test_d13_a_cancel_of_what_is_gone_stops_nothing",
        not_portal="nothing answers the end of a subscription there",
    ),
    "D14": Row(
        "an answer to somebody else's question",
        "test_d14_an_answer_to_nobodys_question_is_counted_and_believed_by_nobody",
        not_portal="an HTTP answer belongs to its own request",
    ),
    "D15": Row(
        "a snapshot's end comes late, or never",
        "test_d15_a_snapshot_is_complete_with_its_prices_and_does_not_wait_for_its_end",
        not_portal="its snapshots have no end; what they have instead is P09",
    ),
    "D16": Row(
        "a halted symbol",
        "test_d16_a_halted_symbol_opens_nothing_and_lets_cancels_pass",
        "test_d06_d10_d16_a_prior_close_is_no_last_price_and_a_halted_one_says_so",
    ),
    "D17": Row(
        "greeks that were not computed",
        "test_d17_greeks_that_were_not_computed_are_none",
        "test_d17_what_was_not_computed_is_none",
        not_portal="the portal client tells no greeks",
    ),
    "D18": Row(
        "P&L unset, or realised and unrealised swapped",
        "test_d18_figures_of_profit_that_are_unset_or_swapped_are_none",
        "test_d18_account_and_pnl_are_the_ledgers",
        not_portal="its figures bear their names; one that is left out is None",
    ),
    "D19": Row(
        "the first print of an index",
        "test_d19_a_print_of_an_index_before_its_session_is_no_price",
        not_portal="not looked for there: the filter is one of TWS lines",
    ),
    "O01": Row(
        "the answer is lost after the bytes left",
        "test_o01_a_link_that_dies_with_the_order_leaves_it_unknown_until_two_readings",
        "test_o01_an_unacknowledged_order_is_noticed_in_three_seconds",
        "test_p01_o01_q3_an_order_without_an_answer_is_in_doubt_blocks_its_symbol_and_is_found",
    ),
    "O02": Row(
        "an order is swallowed",
        "test_o02_a_swallowed_order_stays_unknown_and_is_never_sent_again",
        "test_o02_q4_an_order_that_arrives_late_is_never_called_dead_by_a_timer",
        "test_o02_q4_new_exposure_waits_until_the_lost_orders_are_read",
        "test_o02_a_swallowed_order_is_noticed_in_three_seconds_and_never_sent_again",
    ),
    "O03": Row(
        "a warning about TIF or presets",
        "test_o03_a_warning_never_ends_an_order",
        "test_o03_q7_a_warning_about_a_new_order_leaves_it_working",
        "test_o03_o29_a_warning_ends_nothing",
    ),
    "O04": Row(
        "a change is refused",
        "test_o04_a_refused_change_leaves_the_order_live",
        "test_o04_a_refused_change_leaves_the_order_as_it_was",
    ),
    "O05": Row(
        "a cancel is refused",
        "test_o05_10147_for_an_order_that_is_done_is_settled_by_a_look",
        "test_o05_a_refused_cancel_leaves_the_order_live_and_says_so",
        "test_o05_o08_a_cancel_that_crosses_the_fill_answers_with_the_fill",
    ),
    "O06": Row(
        "a cancel is confirmed (202); a fill beats it",
        "test_o05_o06_cancel_answers",
        "test_o06_202_confirms_a_cancel",
        "test_o06_o08_a_fill_beats_the_cancel_that_it_crossed",
    ),
    "O07": Row(
        "status Inactive",
        "test_o07_inactive_followed_by_201_is_a_rejection",
        "test_o07_o30_inactive_is_held_and_may_revive",
    ),
    "O08": Row(
        "a fill while a cancel is pending",
        "test_q10_o08_a_fill_that_crosses_the_cancel_is_booked",
        "test_o06_o08_a_fill_beats_the_cancel_that_it_crossed",
        "test_o05_o08_a_cancel_that_crosses_the_fill_answers_with_the_fill",
    ),
    "O09": Row(
        "a stale status after the end",
        "test_o09_a_stale_status_does_not_bring_an_order_back",
        "test_o09_a_stale_frame_does_not_bring_an_order_back",
    ),
    "O10": Row(
        "a fill without a status",
        "test_o10_a_late_execution_is_booked_when_it_comes",
        "test_o10_o14_a_fill_that_only_the_status_tells_is_asked_for_and_told_once",
        "test_o10_a_fill_without_any_status_ends_the_order",
        "test_o10_p13_a_fill_is_told_by_its_execution_and_never_by_a_status",
    ),
    "O11": Row(
        "a commission that comes late or early",
        "test_o11_a_late_commission_amends_a_fill_that_was_told_at_once",
        "test_o11_the_fill_is_told_at_once_and_its_fee_amended_later",
    ),
    "O12": Row(
        "executions told again",
        "test_o12_o13_a_repeated_fill_counts_once_and_a_correction_replaces",
        "test_o37_o12_every_fill_told_twice_is_booked_once",
        "test_o12_what_a_new_stream_repeats_is_booked_once",
    ),
    "O13": Row(
        "a corrected execution",
        "test_o12_o13_a_repeated_fill_counts_once_and_a_correction_replaces",
        "test_o13_a_correction_replaces_what_it_corrects",
    ),
    "O14": Row(
        "a fill that was missed",
        "test_o10_o14_a_fill_that_only_the_status_tells_is_asked_for_and_told_once",
        "test_o14_o15_p12_q6_a_fill_that_was_missed_is_told_once_to_the_handle_that_waits_for_it",
    ),
    "O15": Row(
        "the handle of an order over a gap",
        "test_o15_who_waits_for_an_order_hears_of_its_end_over_a_lost_link",
        "test_o14_o15_p12_q6_a_fill_that_was_missed_is_told_once_to_the_handle_that_waits_for_it",
    ),
    "O16": Row(
        "a change on an unhealthy link; two numbers for one intent",
        "test_o16_q8_a_second_perm_id_alarms_blocks_and_both_are_cancelled",
        "test_o16_a_change_is_not_sent_while_the_session_is_lost_and_no_second_order_appears",
        "test_o16_q8_a_second_number_for_one_reference_alarms_blocks_and_both_are_cancelled",
        "test_o16_an_order_in_doubt_is_changed_through_neither_door",
        "test_p16_o16_an_order_that_meets_a_kicked_tws_is_in_doubt_and_at_the_end_one_or_none",
    ),
    "O17": Row(
        "somebody trades by hand",
        "test_o17_b7b_a_manual_order_is_foreign_until_adopted",
        "test_o17_a_manual_trade_moves_the_position_and_not_the_orders",
        "test_o17_o40_a_manual_trade_moves_the_position_and_not_the_orders",
    ),
    "O18": Row(
        "an execution whose order id means nothing any more",
        "test_o18_an_execution_finds_its_order_by_permid_or_order_id",
        "test_o18_an_exits_execution_carries_no_reference_and_finds_its_leg",
    ),
    "O19": Row(
        "an execution before its order",
        "test_o19_an_execution_before_its_openorder_waits_for_it",
        "test_o19_an_execution_that_comes_before_its_order_is_shown_is_booked_once",
    ),
    "O20": Row(
        "two orders with one number",
        "test_o20_orders_placed_at_once_get_numbers_of_their_own",
        "test_o20_a_reference_that_is_taken_means_that_the_order_exists",
        "test_o20_no_two_orders_share_a_number_or_a_reference",
    ),
    "O21": Row(
        "a change of what changed meanwhile",
        "test_o21_an_ended_order_cannot_be_modified",
        "test_o21_a_change_starts_from_what_the_broker_shows",
    ),
    "O22": Row(
        "a child changed after its parent ended",
        "test_o22_an_exit_changed_after_its_parent_ended_names_no_parent",
        "test_o22_o25_an_exit_is_changed_after_its_parent_has_ended_and_works_in_extended_hours_as_it_did",
    ),
    "O23": Row(
        "checked only after sending",
        "test_o23_o33_what_cannot_be_is_refused_before_anything_leaves",
    ),
    "O24": Row(
        "half a bracket",
        "test_o24_q17_a_link_that_dies_between_the_legs_leaves_no_entry_alone",
        "test_o24_q17_an_entry_whose_stop_is_refused_does_not_work",
        "test_o24_q17_a_bracket_leaves_in_one_request_so_that_its_entry_is_never_alone",
        "test_o24_q17_a_bracket_that_is_torn_by_the_loss_leaves_no_entry_alone",
    ),
    "O25": Row(
        "a child without its parent's hours",
        "test_o25_children_inherit_extended_hours",
        "test_o22_o25_an_exit_is_changed_after_its_parent_has_ended_and_works_in_extended_hours_as_it_did",
    ),
    "O26": Row(
        "a price off the grid",
        "test_o26_o27_rounding_is_side_aware_and_reported",
        "test_o26_o49_prices_lie_on_the_contracts_grid_and_the_presets_are_no_lot",
    ),
    "O27": Row(
        "a size off the grid",
        "test_o26_o27_rounding_is_side_aware_and_reported",
        "test_o47_o27_a_fraction_is_refused_with_the_whole_shares_that_fit",
    ),
    "O28": Row(
        "a definite refusal",
        "test_o28_a_refused_order_is_refused_at_once",
        "test_o28_a_refusal_ends_the_order_at_once",
    ),
    "O29": Row(
        "held until the open (399)",
        "test_o03_o29_o30_orders_stay_live",
        "test_o29_a_warning_about_the_open_is_only_a_warning",
        "test_o03_o29_a_warning_ends_nothing",
    ),
    "O30": Row(
        "held for a locate (404)",
        "test_o30_q7_a_locate_holds_an_order_and_its_status_lets_it_work_on",
        "test_o07_o30_inactive_is_held_and_may_revive",
    ),
    "O31": Row(
        "a cancel that is answered hours later",
        "test_o31_a_cancel_answered_at_the_open_is_pending_meanwhile",
        "test_o31_a_cancel_whose_answer_does_not_come_is_pending_and_neither_dead_nor_forgotten",
    ),
    "O32": Row(
        "the echo of another order",
        "test_o32_q9_an_echo_of_another_contract_halts_the_symbol_over_a_restart",
        "test_o32_q9_an_echo_of_another_contract_halts_the_symbol",
    ),
    "O33": Row(
        "a required price is missing",
        "test_o23_o33_what_cannot_be_is_refused_before_anything_leaves",
    ),
    "O34": Row(
        "a what-if without figures",
        "test_o34_what_a_what_if_does_not_tell_is_none",
        "test_O34_no_margin_told_is_not_no_margin_needed",
        "test_o34_a_what_if_that_tells_no_figures_has_none",
    ),
    "O35": Row(
        "an order of another client",
        "test_o35_another_clients_order_is_seen_and_left_alone",
        "test_o35_an_order_of_another_program_is_seen_and_left_alone",
    ),
    "O36": Row(
        "too many orders of one side",
        "test_o36_orders_of_one_side_are_counted_before_the_wire",
    ),
    "O37": Row(
        "more filled than ordered",
        "test_o37_o12_every_fill_told_twice_is_booked_once",
        "test_o37_more_than_was_ordered_is_booked_and_alarms",
    ),
    "O38": Row(
        "a broker's warning confirmed unread",
        "test_o38_a_warning_about_price_size_or_value_is_never_confirmed",
        "test_o38_q19_a_cap_cannot_be_put_on_the_list",
    ),
    "O39": Row(
        "a failed query read as an empty one",
        "test_q13_o39_a_failed_query_changes_nothing",
        "test_o39_q13_a_query_that_fails_changes_nothing",
    ),
    "O40": Row(
        "a position moves without an order",
        "test_o40_an_owned_position_that_moves_without_an_order_is_told_and_not_oversold",
        "test_o17_o40_a_manual_trade_moves_the_position_and_not_the_orders",
    ),
    "O41": Row(
        "orders made up at start",
        "test_o41_foreign_orders_keep_their_name_over_restarts",
        "test_o41_o42_p08_a_restart_makes_no_orders_and_its_numbers_only_rise",
    ),
    "O42": Row(
        "order ids were reset in TWS",
        "test_o42_order_ids_that_were_reset_in_tws_are_not_used_again",
        "test_o41_o42_p08_a_restart_makes_no_orders_and_its_numbers_only_rise",
    ),
    "O43": Row(
        "the broker ends a protective stop",
        "test_o43_a_stop_that_the_broker_ends_alarms",
    ),
    "O44": Row(
        "a forced close",
        "test_o44_a_forced_close_alarms_and_is_not_ours",
    ),
    "O45": Row(
        "on-close orders: TIF, options, cut-off",
        "test_O45_on_close_is_not_for_options",
        "test_O45_on_close_takes_day_only",
        "test_o48_o45_a_type_that_this_door_lacks_is_refused_and_never_translated",
    ),
    "O46": Row(
        "what does not go with extended hours",
        "test_O46_a_day_order_after_the_close_would_be_queued_unnoticed",
        "test_O46_what_does_not_go_with_outside_rth",
        "test_o46_extended_hours_do_not_go_with_an_opening_order",
    ),
    "O47": Row(
        "fractions",
        "test_O47_the_socket_takes_whole_shares",
        "test_o27_o47_sizes_go_down_to_the_step_of_exchange_and_door",
        "test_o47_o27_a_fraction_is_refused_with_the_whole_shares_that_fit",
    ),
    "O48": Row(
        "an order type that the portal lacks",
        "test_o48_o45_a_type_that_this_door_lacks_is_refused_and_never_translated",
    ),
    "O49": Row(
        "a ticket preset read as a lot",
        "test_o26_o49_prices_lie_on_the_contracts_grid_and_the_presets_are_no_lot",
    ),
    "O50": Row(
        "a stop larger than what is filled",
        "test_o50_a_refused_resize_is_told_and_tried_again",
        "test_o50_exits_follow_what_is_filled",
    ),
    "P01": Row(
        "POST /orders without an answer",
        "test_p01_an_order_that_the_stream_shows_is_in_no_doubt_although_its_answer_is_lost",
        "test_p01_o01_q3_an_order_without_an_answer_is_in_doubt_blocks_its_symbol_and_is_found",
    ),
    "P02": Row(
        '"reply id not found"',
        "test_p02_a_lost_reply_is_a_doubt_and_the_next_order_has_a_chain_of_its_own",
    ),
    "P03": Row(
        "200 with an error, a question or a success",
        "test_p03_a_200_is_read_for_what_it_says",
        "test_p03_the_three_shapes_of_the_real_door",
    ),
    "P04": Row(
        "the login lives, the brokerage session does not",
        "test_p04_the_login_lives_and_the_session_behind_it_is_begun_again",
    ),
    "P05": Row(
        '"no bridge"',
        "test_p05_an_order_that_meets_no_bridge_was_not_sent_and_one_init_mends_it",
    ),
    "P06": Row(
        "market data streams end by themselves",
        "test_p06_a_line_is_renewed_before_the_portal_ends_it",
        "test_p06_q15_a_line_that_ended_all_the_same_is_asked_for_again_within_half_a_minute",
    ),
    "P07": Row(
        "no frame tells that the session is back",
        "test_p07_a_return_that_no_frame_tells_of_is_found_by_asking",
    ),
    "P08": Row(
        "cold and poisoned lists of orders",
        "test_p08_a_list_that_another_program_has_filtered_is_not_believed",
        "test_p08_a_new_session_begins_cold_and_is_warmed_before_it_is_believed",
    ),
    "P09": Row(
        "the pre-flight of a snapshot",
        "test_p09_a_snapshot_is_asked_for_until_its_prices_are_there",
    ),
    "P10": Row(
        "429 and the penalty box",
        "test_c22_p10_a_burst_of_questions_stays_within_the_limits",
        "test_p10_in_the_penalty_box_orders_are_not_sent_cancels_are_tried_and_the_box_is_left_alone",
    ),
    "P11": Row(
        "maintenance at night",
        "test_c13_p11_nightly_maintenance_is_outlived_with_patience",
    ),
    "P12": Row(
        "503 from an order's status",
        "test_o14_o15_p12_q6_a_fill_that_was_missed_is_told_once_to_the_handle_that_waits_for_it",
        "test_p12_orders_of_all_accounts_are_read_without_choosing_one",
    ),
    "P13": Row(
        "partial fills by polling",
        "test_o10_p13_a_fill_is_told_by_its_execution_and_never_by_a_status",
        "test_p13_parts_by_polling_add_up_to_what_the_ledger_holds",
    ),
    "P14": Row(
        "tokens and logins expire",
        "test_c12_p14_logged_out_is_a_failing_health_that_alarms_a_few_times_and_mends_itself",
    ),
    "P15": Row(
        "suppressions are lost at a new session",
        "test_p15_a_suppression_is_there_again_after_each_beginning",
    ),
    "P16": Row(
        "one user name on both doors",
        "test_p16_another_session_of_the_user_is_left_alone",
        "test_p16_it_is_taken_when_told_so",
        "test_p16_a_portal_that_is_not_there_is_no_reason_to_close_tws",
        "test_p16_kicked_by_tws_while_in_doubt_the_pen_stays_and_nobody_flaps",
    ),
    "P17": Row(
        "failing over while an order is in doubt",
        "test_p17_a_cancel_that_the_other_door_may_not_do_is_kept_for_the_one_that_may",
        "test_p17_q10_an_order_of_the_lost_door_is_cancelled_through_the_other_one_at_once",
    ),
}

#: Door -> what the path of a story at it holds; the first one that fits counts.
DOORS = {
    "both doors": ("failover", "orders_doors", "cross_doors"),
    "portal": ("portal", "oauth"),
    "TWS": (
        "tws",
        "gateway_link",
        "gateway_trading",
        "gateway_data",
        "test_subscription",
        "test_fault_",
        "test_promise_",
        "test_link",
        "test_lanes",
    ),
    "any door": ("",),
}


@cache
def found() -> dict[str, list[str]]:
    """Test function -> the files that hold it, relative to tests/."""
    names: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                names.setdefault(node.name, []).append(path.relative_to(TESTS).as_posix())
    return names


def door_of(path: str) -> str:
    return next(door for door, marks in DOORS.items() if any(mark in path for mark in marks))


def page() -> str:
    """docs/faults.md."""
    lines = [
        "# Faults and their stories",
        "",
        "Written by `python -m tests.scenarios.test_fault_catalogue`. The numbers are those of the catalogue that the",
        "project was given; C: connection and transport, D: market data, O: orders, P: Client Portal.",
        "",
    ]
    lines += [f"{letter} rows are not listed: {where}.  " for letter, where in ELSEWHERE.items()]
    lines += ["", "| row | what happens | stories |", "|---|---|---|"]
    for number, row in CATALOGUE.items():
        stories = [f"{door_of(path)}: `{name}` ({path})" for name in row.tests for path in found()[name]]
        if row.not_portal:
            stories.append(f"not at the portal: {row.not_portal}")
        lines.append(f"| {number} | {row.title} | {'<br>'.join(stories)} |")
    return "\n".join(lines) + "\n"


def test_every_row_of_doors_orders_and_data_is_here() -> None:
    wanted = [
        f"{letter}{number:02}"
        for letter, last in (("C", 29), ("D", 19), ("O", 50), ("P", 17))
        for number in range(1, last + 1)
    ]
    assert list(CATALOGUE) == wanted


@pytest.mark.skipif(not REFERENCE.is_file(), reason="no ../shared beside this checkout")
def test_the_reference_holds_no_other_rows() -> None:
    rows = re.findall(r"^\| ([A-Z]\d{2}) \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {row for row in rows if row[0] not in ELSEWHERE} == set(CATALOGUE)


@pytest.mark.parametrize("number", list(CATALOGUE))
def test_a_row_has_stories_that_exist_and_bear_its_number(number: str) -> None:
    row = CATALOGUE[number]
    assert row.tests, "no story"
    missing = [name for name in row.tests if name not in found()]
    assert not missing, "no such test"
    strangers = [name for name in row.tests if number.lower() not in name.lower().split("_")]
    assert not strangers, "the name does not say so"


@pytest.mark.parametrize("number", list(CATALOGUE))
def test_a_row_plays_at_the_portal_or_says_why_not(number: str) -> None:
    row = CATALOGUE[number]
    doors = {door_of(path) for name in row.tests for path in found()[name]}
    assert bool(doors & {"portal", "both doors"}) is not bool(row.not_portal)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.scenarios.test_fault_catalogue"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
